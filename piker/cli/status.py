"""piker status: the units of the suite and how they are.

Asks pikerd where it runs, else the systemd user manager. Nothing heavy is imported before it is
clear that there is something to ask.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from piker.cli.managers import Status


def main(arguments: list[str]) -> int:
    """Print a table, or JSON."""
    json = _wants_json(arguments)
    units = _units()
    if json:
        _print_json(units)
    elif units:
        show_table(units)
        _print_notes(units)
    else:
        print("nothing runs; start with `piker up` or `systemctl --user start datad@replay`")
    return 0


def _wants_json(arguments: list[str]) -> bool:
    """Whether --json is given; argparse, a third of this command's time, only for other cases."""
    if arguments in ([], ["--json"]):
        return bool(arguments)
    from piker.cli.arguments import parser

    parse = parser("status", "The units of the suite and how they are.")
    parse.add_argument("--json", action="store_true", help="a list of objects, for programs")
    wanted: bool = parse.parse_args(arguments).json
    return wanted


def _units() -> "list[Status]":
    """Sockets are what starts daemons: where none is, nothing runs."""
    from piker.paths import runtime_directory

    if not os.path.isdir(runtime_directory() / "piker"):
        return []
    from piker.cli.managers import ask

    return ask()


def _print_json(units: "list[Status]") -> None:
    if not units:
        print("[]")
        return
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(units) + b"\n")


def show_table(units: "list[Status]") -> None:
    """Print a line a unit."""
    from rich.table import Table

    from piker.cli.lines import add, show

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("unit", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("pid", "memory", "talks"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status")
    for unit in units:
        add(
            table,
            unit.unit,
            _state(unit),
            _text(unit.pid),
            "" if unit.memory_bytes is None else f"{unit.memory_bytes / 1e6:.1f} MB",
            _text(unit.conversations),
            unit.status,
        )
    show(table)


def _print_notes(units: "list[Status]") -> None:
    """A halt, and accounts that aren't ready, if emsd runs: asking must not start it."""
    if not any(unit.unit == "emsd.service" and unit.active == "active" for unit in units):
        return
    from piker.cli.managers import notes_of_emsd

    for note in notes_of_emsd():
        print(note)


def _state(unit: "Status") -> str:
    """As short as it can be, so that the status line has room: running, listening, dead."""
    usual = unit.active in ("active", "inactive")
    return unit.sub if usual else f"{unit.active} ({unit.sub})"


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
