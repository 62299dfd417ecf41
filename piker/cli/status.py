"""piker status: the units of the suite and how they are.

Asks pikerd where it runs, else the systemd user manager; with --system the machine's. Nothing heavy
is imported before it is clear that there is something to ask.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from piker.cli.managers import Status

ASKED = {
    "pikerd": "asked pikerd",
    "user": "asked systemd, the manager of this user",
    "system": "asked systemd, the manager of the system",
}


def main(arguments: list[str]) -> int:
    """Print a table, or JSON."""
    json = _wants_json(arguments)
    units = _units()
    if json:
        _print_json(units)
    elif units:
        print(ASKED[units[0].manager])
        show_table(units)
        _print_failures(units)
        _print_notes(units)
    else:
        print(_how_to_start())
    return 0


def _wants_json(arguments: list[str]) -> bool:
    """Whether --json is given; argparse, a third of this command's time, only for other cases."""
    if arguments in ([], ["--json"]):
        return bool(arguments)
    from piker.cli import whose
    from piker.cli.arguments import parser

    parse = parser("status", "The units of the suite and how they are.")
    parse.add_argument("--json", action="store_true", help="a list of objects, for programs")
    whose.add_options(parse)
    args = parse.parse_args(arguments)
    whose.take(args)
    wanted: bool = args.json
    return wanted


def _units() -> "list[Status]":
    """Sockets are what starts daemons: where none is, nothing runs."""
    from piker.paths import runtime_directory

    if not os.path.isdir(runtime_directory() / "piker"):
        return []
    from piker.cli.managers import ask

    return ask()


def _how_to_start() -> str:
    from piker.paths import manager, other_manager, runtime_directory, systemctl

    by_hand = "" if manager() == "system" else "`piker up` or "
    told = f"nothing runs; start with {by_hand}`{systemctl()} start datad@replay`"
    other = other_manager()
    if any((runtime_directory(other) / "piker").glob("*/*.sock")):
        return f"{told}; the {other} manager's daemons are there: `piker --{other} status`"
    return told


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
    from piker.cli.times import short

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("unit", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("since", "restarts", "pid", "memory", "talks"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status")
    for unit in units:
        add(
            table,
            unit.unit,
            _state(unit),
            "" if unit.since_ns is None else short(unit.since_ns),
            _text(unit.restarts or None),
            _text(unit.pid),
            "" if unit.memory_bytes is None else f"{unit.memory_bytes / 1e6:.1f} MB",
            _text(unit.conversations),
            unit.status,
        )
    show(table)


def _print_failures(units: "list[Status]") -> None:
    """A line for each unit that failed or was restarted, as far as it is known why."""
    for unit in units:
        if unit.failure:
            print(f"{unit.unit}: last failure: {unit.failure}")


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
