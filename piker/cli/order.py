"""piker order: one order's whole life, with the times between its steps."""

import time

import trio

from piker.cli import desk, lines
from piker.cli.arguments import parser
from piker.core.mirror import Change, history
from piker.core.wording import standing, told


def main(arguments: list[str]) -> int:
    """Print it."""
    parse = parser("order", "All that ever happened to an order, however old.", "a1b2c3d4")
    parse.add_argument("oid", help=desk.OID)
    parse.add_argument("--json", action="store_true", help="an object an event")
    args = parse.parse_args(arguments)
    trio.run(_print, args.oid, args.json)
    return 0


async def _print(given: str, as_json: bool) -> None:
    oid = await desk.whole_oid(given)
    timeline = await desk.timeline(oid)
    live = await desk.live()
    changes = list(history(timeline.events))
    if as_json:
        lines.print_changes(changes, live, 0, as_json=True)
        return
    print(f"{timeline.life.order.oid}\n{lines.text(timeline.life, live)}")
    lines.show(_table(changes))


def _table(changes: list[Change]) -> object:
    table = lines.grid("time", "after", "what", "state", "filled", right=["after"])
    before_ns: int | None = None
    for change in changes:
        assert change.news is not None
        time_ns = change.news.time_ns
        after = "" if before_ns is None else between(time_ns - before_ns)
        lines.add(
            table,
            _when(time_ns),
            after,
            told(change.news.event),
            standing(change.life),
            lines.done(change.life) if change.life.filled else "",
        )
        before_ns = time_ns
    return table


def _when(time_ns: int) -> str:
    """A time here, with its day and milliseconds."""
    seconds, ns = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%F %T', time.localtime(seconds))}.{ns // 1_000_000:03}"


def between(span_ns: int) -> str:
    """A time between two steps, in three digits or so: 412 us, 3.1 ms, 2.04 s, 5 min 3 s."""
    if span_ns < 1_000_000:
        return f"{span_ns // 1000} us"
    if span_ns < 1_000_000_000:
        return f"{span_ns / 1e6:.3g} ms"
    if span_ns < 60_000_000_000:
        return f"{span_ns / 1e9:.3g} s"
    minutes, seconds = divmod(span_ns // 1_000_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
