"""piker history backfill: have bars on disk filled back, and see how far that is.

datad does it, whether somebody looks or not.
"""

import sys
from contextlib import aclosing
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
import trio

from piker import client, storeclient
from piker.cli import FAILED, INTERRUPTED, desk
from piker.cli.historytimes import lasting, named
from piker.cli.times import dated
from piker.core.bars import NS
from piker.interfaces.data import DATA, Backfill, BackfillReply

FIRST_S = 60.0
"""How long the first answer may take: the venue is asked what the market is."""
PART = 0.01
"""Without a terminal there is a line each time that so much more is done."""


def run(call: Backfill, *, json: bool) -> int:
    """Ask for it, and follow it to its end; gives the exit status. Raises Refused, Unreachable.

    A pause is answered once. Who interrupts this leaves the backfill as it is.
    """
    interrupted, reply = False, None
    try:
        reply = trio.run(_follow, call, json)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        _say_that_it_goes_on(call)
        return INTERRUPTED
    assert reply is not None, "expected a reply or an error"
    wanted = ("done", "paused", "forgotten") if call.order else ("done", "paused")
    return 0 if reply.state in wanted else FAILED


async def _follow(call: Backfill, json: bool) -> BackfillReply | None:
    provider = await storeclient.provider_of(call.market)
    newest: BackfillReply | None = None
    with _shown(json=json) as shown:
        async with (
            client.open_daemon("datad", provider, DATA) as datad,
            aclosing(datad.replies(call, BackfillReply, FIRST_S)) as replies,
        ):
            async for newest, _ in replies:
                shown.show(newest)
                if newest.state in ("paused", "done", "failed", "forgotten"):
                    break
    return newest


def _say_that_it_goes_on(call: Backfill) -> None:
    again = f"piker history backfill {call.market} --period {named(call.period_s)}"
    desk.say(f"the backfill goes on; `{again}` shows how far it is, with --pause it waits")


class Shown(Protocol):
    """Where it is shown how far it is."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None: ...
    def show(self, reply: BackfillReply) -> None:
        """Show this."""


def _shown(*, json: bool) -> Shown:
    if json:
        return Lines(json=True)
    return Screen() if sys.stdout.isatty() else Lines(json=False)


class Lines:
    """A line each; not one for every frame, but for programs."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._told: tuple[str, str, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, reply: BackfillReply) -> None:
        """Print it, if it is news."""
        news = reply.state, reply.reason, int(reply.share / PART)
        if self._json:
            print(msgspec.json.encode(reply).decode(), flush=True)
        elif news != self._told:
            print(line(reply), flush=True)
        self._told = news


class Screen:
    """A bar in a terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}"),
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, reply: BackfillReply) -> None:
        """Draw it."""
        if self._task is None:
            name = f"{reply.market} {named(reply.period_s)}"
            self._task = self._progress.add_task(name, total=1.0, told="")
        self._progress.update(self._task, completed=reply.share, told=_standing(reply))
        self._progress.refresh()


def line(reply: BackfillReply) -> str:
    """How far it is, in a line."""
    name = f"{reply.market} {named(reply.period_s)}"
    span = f"back to {dated(reply.settled_from_ns)} of {dated(reply.from_ns)}"
    return f"{name}: {reply.share:.0%}, {span}; {_standing(reply)}"


def _standing(reply: BackfillReply) -> str:
    """What it does, why it waits, how fast it is, when it ends."""
    told = [reply.state + (f": {reply.reason}" if reply.reason else "")]
    if reply.state in ("running", "waiting"):
        told += [f"{reply.per_minute:.3g} frames a minute"] if reply.per_minute else []
        told += [f"about {lasting(round(reply.eta_s) * NS)} left"] if reply.eta_s else []
    told += [f"{reply.rows:,} bars"] if reply.rows else []
    told += [f"{len(reply.unavailable)} not to be had"] if reply.unavailable else []
    return ", ".join([*told, *([reply.note] if reply.note else [])])
