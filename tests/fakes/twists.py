"""Ways in which a venue answers about its past otherwise than it should."""

from math import nan

import trio
from msgspec import structs

from piker.brokers import (
    Frame,
    HistoryThrottled,
    HistoryUnanswered,
    VenueLost,
)
from piker.core.bars import NS
from tests.fakes.past import bar, truth


async def overlapping(frame: Frame, period_s: int) -> Frame:
    """Of more than was asked for, on both sides."""
    more_ns = 5 * period_s * NS
    from_ns, to_ns = frame.from_ns - more_ns, frame.to_ns + more_ns
    return Frame(from_ns=from_ns, to_ns=to_ns, bars=truth(period_s, from_ns, to_ns))


async def unordered(frame: Frame, period_s: int) -> Frame:
    """The newest first, and the middle last."""
    bars = frame.bars[::-1]
    return structs.replace(frame, bars=(*bars[1::2], *bars[::2]))


async def doubled(frame: Frame, period_s: int) -> Frame:
    """Each bar twice."""
    return structs.replace(frame, bars=frame.bars * 2)


async def outside(frame: Frame, period_s: int) -> Frame:
    """With bars of another time."""
    wrong = bar(period_s, frame.from_ns - period_s * NS), bar(period_s, frame.to_ns)
    return structs.replace(frame, bars=(*wrong, *frame.bars))


async def narrow(frame: Frame, period_s: int) -> Frame:
    """Of the newer half."""
    middle_ns = (frame.from_ns + frame.to_ns) // 2 // (period_s * NS) * period_s * NS
    return Frame(from_ns=middle_ns, to_ns=frame.to_ns, bars=truth(period_s, middle_ns, frame.to_ns))


async def older_half(frame: Frame, period_s: int) -> Frame:
    """Of the older half."""
    middle_ns = (frame.from_ns + frame.to_ns) // 2 // (period_s * NS) * period_s * NS
    return Frame(
        from_ns=frame.from_ns, to_ns=middle_ns, bars=truth(period_s, frame.from_ns, middle_ns)
    )


async def late(frame: Frame, period_s: int) -> Frame:
    """After a while."""
    await trio.sleep(40)
    return frame


async def too_late(frame: Frame, period_s: int) -> Frame:
    """After nobody waits any more."""
    await trio.sleep(1000)
    return frame


async def no_number(frame: Frame, period_s: int) -> Frame:
    """With one price that is none."""
    return structs.replace(
        frame, bars=tuple(structs.replace(each, close=nan) for each in frame.bars[-1:])
    )


async def high_below_low(frame: Frame, period_s: int) -> Frame:
    """With prices that can't be, in the midst of others."""
    wrong = [structs.replace(each, high=each.low - 1) for each in frame.bars[:1]]
    return structs.replace(frame, bars=(*frame.bars[1:], *wrong))


async def contradictory(frame: Frame, period_s: int) -> Frame:
    """With one bar twice, and different."""
    other = [structs.replace(each, volume=each.volume + 1) for each in frame.bars[:1]]
    return structs.replace(frame, bars=(*frame.bars, *other))


async def off_the_grid(frame: Frame, period_s: int) -> Frame:
    """With a bar that begins in the midst of a period."""
    wrong = structs.replace(bar(period_s, frame.from_ns), time_ns=frame.from_ns + NS // 2)
    return structs.replace(frame, bars=(wrong, *frame.bars))


async def elsewhere(frame: Frame, period_s: int) -> Frame:
    """About another time altogether."""
    return Frame(from_ns=0, to_ns=period_s * NS, bars=())


async def throttled(frame: Frame, period_s: int) -> Exception:
    """Asked too often, it says."""
    return HistoryThrottled("pacing violation", 15.0)


async def unanswered(frame: Frame, period_s: int) -> Exception:
    """No answer."""
    return HistoryUnanswered("no answer within 60 s")


async def lost(frame: Frame, period_s: int) -> Exception:
    """The venue goes away."""
    return VenueLost("no gateway")


TWISTS = (
    overlapping,
    unordered,
    doubled,
    outside,
    narrow,
    older_half,
    late,
    too_late,
    no_number,
    high_below_low,
    contradictory,
    off_the_grid,
    elsewhere,
    throttled,
    unanswered,
    lost,
)
