"""piker history ls and gaps: what is kept, and what is missing of it."""

import sys
from collections.abc import Iterator
from contextlib import aclosing

import msgspec
import trio

from piker import client, storeclient
from piker.cli import FAILED, desk, lines
from piker.cli.historytimes import lasting, named
from piker.cli.sparks import strip
from piker.cli.times import dated
from piker.coverage import Finding
from piker.errors import Refused
from piker.interfaces.data import NothingKept
from piker.interfaces.store import Audit, Gaps, GapsReply, KeptSeries, KeptTicks, SeriesReply
from piker.store.places import TICKS


def ls(market: str | None, *, json: bool) -> int:
    """Print what is kept. Raises Refused or Unreachable."""
    found = trio.run(_all, market)
    kept: list[KeptSeries | KeptTicks] = []
    for reply in found:
        kept += sorted((*reply.series, *reply.ticks), key=lambda each: each.market)
    if json:
        for each in kept:
            print(msgspec.json.encode(each).decode())
    elif kept:
        lines.show(_table(kept))
    else:
        print("nothing is kept yet")
    for problem in dict.fromkeys(reply.problem for reply in found if reply.problem):
        desk.say(problem)
    return 0


async def _all(market: str | None) -> list[SeriesReply]:
    """Of one provider, or of all that listen; one that keeps nothing hides nobody else's."""
    if market is not None:
        return [await storeclient.series(await storeclient.provider_of(market), market)]
    found, refused = [], []
    for provider in client.asked():
        try:
            found.append(await storeclient.series(provider))
        except Refused as no:
            if not isinstance(no.fault, NothingKept):
                raise
            refused.append(no)
    if refused and not found:
        raise refused[0]
    return found


def _table(kept: list[KeptSeries | KeptTicks]) -> object:
    right = ("rows", "size", "gaps")
    table = lines.grid("market", "period", "from", "to", *right, "", right=right)
    for each in kept:
        ends = [dated(ns) if ns is not None else "-" for ns in (each.from_ns, each.to_ns)]
        size = f"{each.size_bytes / 1e6:.1f} MB"
        if isinstance(each, KeptTicks):
            lines.add(table, each.market, TICKS, *ends, f"{each.ticks:,}", size, "", "")
        else:
            numbers = f"{each.rows:,}", size, str(each.gaps or "")
            lines.add(table, each.market, named(each.period_s), *ends, *numbers, _remark(each))
    return table


def _remark(series: KeptSeries) -> str:
    told = []
    if series.wanted_from_ns is not None:
        paused = ", paused" if series.paused else ""
        told.append(f"backfill to {dated(series.wanted_from_ns)}{paused}")
    if series.unavailable:
        told.append(f"{len(series.unavailable)} not to be had")
    return "; ".join(told)


async def usual_period(market: str) -> int:
    """Which of the periods that are kept is meant where none is named, s: minutes, if they are.

    Raises Refused or Unreachable.
    """
    kept = await storeclient.series(await storeclient.provider_of(market), market)
    periods = {each.period_s for each in kept.series}
    return 60 if 60 in periods else min(periods, default=60)


def gaps(call: Gaps, *, all_: bool, json: bool) -> int:
    """Print what is missing. Raises Refused or Unreachable."""
    reply = trio.run(storeclient.gaps, call)
    if json:
        print(msgspec.json.encode(reply).decode())
        return 0
    rows = sorted(_rows(reply, all_))
    if rows:
        table = lines.grid("from", "to", "for", "what")
        for from_ns, to_ns, what in rows:
            lines.add(table, dated(from_ns), dated(to_ns), lasting(to_ns - from_ns), what)
        lines.show(table)
    _sum_up(reply)
    return 0


def _rows(reply: GapsReply, all_: bool) -> Iterator[tuple[int, int, str]]:
    yield from ((each.from_ns, each.to_ns, "gap") for each in reply.gaps)
    yield from (
        (each.from_ns, each.to_ns, f"not to be had: {each.reason}") for each in reply.unavailable
    )
    if all_:
        yield from ((each.from_ns, each.to_ns, "closed") for each in reply.closures)
        yield from ((each.from_ns, each.to_ns, each.how) for each in reply.covered)


def _sum_up(reply: GapsReply) -> None:
    what = f"{reply.market} {named(reply.period_s)}"
    print(f"{what}: {_count(reply)}, from {dated(reply.from_ns)} to {dated(reply.to_ns)}")
    if sys.stdout.isatty() and reply.from_ns < reply.to_ns:
        covered = [(each.from_ns, each.to_ns) for each in reply.covered]
        lacking = [(each.from_ns, each.to_ns) for each in reply.gaps]
        lacking += [(each.from_ns, each.to_ns) for each in reply.unavailable]
        print(f"[{strip((reply.from_ns, reply.to_ns), covered, lacking)}]")
        print(" █ covered  ▒ in part  · not")
    if not reply.sessions_known:
        desk.say(f"{reply.market}: nobody says when it is closed: all time counts as traded")


def _count(reply: GapsReply) -> str:
    gaps_, never = len(reply.gaps), len(reply.unavailable)
    told = "no gap" if not gaps_ else "1 gap" if gaps_ == 1 else f"{gaps_} gaps"
    return f"{told}, {never} not to be had" if never else told


def audit(market: str | None, *, repair: bool, json: bool) -> int:
    """Print what isn't as it should be; 1 if something is and stays so. Raises as `ls`."""
    told = trio.run(_audited, market, repair, json)
    bad = [each for each in told if not each.harmless]
    left = [each for each in bad if not each.done]
    if not json:
        notes = len(told) - len(bad)
        print(_summary(len(bad), len(left), notes))
        if left and not repair:
            desk.say("piker history audit --repair mends it; nothing is lost")
    return FAILED if left else 0


async def _audited(market: str | None, repair: bool, json: bool) -> list[Finding]:
    providers = client.asked() if market is None else [await storeclient.provider_of(market)]
    found: list[Finding] = []
    for provider in providers:
        call = Audit(market=market, repair=repair or None)
        async with aclosing(storeclient.audit(provider, call)) as replies:
            async for reply in replies:
                for each in reply.findings:
                    found.append(each)
                    print(msgspec.json.encode(each).decode() if json else _line(each), flush=True)
    return found


def _line(finding: Finding) -> str:
    row = "" if finding.row is None else f", row {finding.row}"
    when = "" if finding.time_ns is None else f", {dated(finding.time_ns)}"
    done = f"; {finding.done}" if finding.done else ""
    return f"{finding.path}{row}{when}: {finding.text}{done}"


def _summary(bad: int, left: int, notes: int) -> str:
    told = "all is well" if not bad else f"{bad} found, {bad - left} of them mended"
    return f"{told}; {notes} to look at" if notes else told
