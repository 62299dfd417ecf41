"""How a market's bars are filled back to an instant: what to ask for next, when, how far it is.

The newest first, then ever older, no longer than a frame of the provider's. What is settled isn't
asked for: what is covered, what the provider said it won't give, time in which the market is
closed. Each answer is treated as what it is:

- bars, or none: the stretch is covered.
- never to be had: noted, with the reason, and not asked for again by itself for a week. Where the
  provider says since when it has data, all before is; else, after `STREAK` frames of which none is
  to be had, this ends as failed.
- throttled: waits for as long as it says.
- lost: waits for the venue, and asks the same again.
- unanswered: waits, longer each time. From the second time on it asks for half as much. What is not
  answered however little is asked for is left for the end, so that it doesn't hold up the rest.
- unsound, an answer that can't be believed: nothing of it is taken. It asks for half as much at
  once, which leaves one period in the end; that is noted as not to be had.

No bar is ever made up.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from piker.core.backoff import Backoff
from piker.core.pace import Pace, at_least_s
from piker.core.paging import Stretch
from piker.core.periods import NS
from piker.core.spans import Pair, clipped, down, joined, up, without
from piker.coverage import Unavailable
from piker.interfaces.data import Why

WEEK_NS = 7 * 86_400 * NS
"""What isn't to be had isn't asked for again by itself before."""
PAUSES_S = (5.0, 1800.0)
"""Between questions that are not answered: first and longest."""
LOST_S = (1.0, 60.0)
"""Between looks whether the venue is there again."""
UNSOUND_S = 1.0
"""Before the next question after an answer that can't be."""
TRIES = 3
"""So often a single period is asked for."""
STREAK = 5
"""Frames that are not to be had, one after another, until there is no sense in going on."""
MEASURED = 30
"""The newest answers that the pace is measured by."""

State = Literal["running", "waiting", "done", "failed"]


class Progress(Struct, frozen=True, kw_only=True):
    """How far it is. Time is the market's, without its closures as far as they are known."""

    state: State
    reason: str
    """Why it waits, or failed."""
    wait_s: float
    """For so long."""
    settled_from_ns: int
    """From then on nothing is left, UTC."""
    rows: int
    frames: int
    """Answers with bars, or without, since it began."""
    left_ns: int
    frames_left: int
    """At most, where answers are as long as they may be."""
    share: float
    """Of what was to be asked for when it began, 0 to 1."""
    per_minute: float | None
    """Frames, by the newest; none: not known yet."""
    eta_s: float | None


def unsettled(
    wanted: Pair, settled: Iterable[Pair], open_time: Sequence[Pair] | None, period_ns: int
) -> list[Pair]:
    """What there is to ask for: whole periods, oldest first, apart.

    `open_time` is when the market trades; None: nobody knows, so that all time counts.
    """
    trading = clipped([wanted] if open_time is None else open_time, *wanted)
    whole = [(down(a, period_ns), up(b, period_ns)) for a, b in without(trading, settled)]
    inside = clipped(joined(whole), up(wanted[0], period_ns), down(wanted[1], period_ns))
    return without(inside, _whole(settled, period_ns))


def not_to_be_had(noted: Iterable[Unavailable], now_ns: int) -> list[Pair]:
    """Stretches of which the provider said so less than a week ago."""
    return [(each.from_ns, each.to_ns) for each in noted if now_ns - each.asked_ns < WEEK_NS]


def frames_of(left: Sequence[Pair], longest_ns: int) -> int:
    """How many frames it takes to ask for these, oldest first and apart."""
    frames, begun_ns = 0, None
    for from_ns, to_ns in reversed(left):
        end_ns = to_ns if begun_ns is None else min(to_ns, begun_ns)
        if end_ns > from_ns:
            more = -((from_ns - end_ns) // longest_ns)
            frames, begun_ns = frames + more, end_ns - more * longest_ns
    return frames


class Filling:
    """One way back. Ask for `next`, tell what came of it, until it is `over`.

    `left` is what `unsettled` gave. Times of waiting are CLOCK_BOOTTIME.
    """

    def __init__(
        self, *, period_s: int, wanted: Pair, left: Sequence[Pair], longest_ns: int, pace: Pace
    ) -> None:
        self._period_ns = period_s * NS
        self._wanted = wanted
        self._left = list(left)
        self._aside: list[Pair] = []
        """What is asked for when nothing else is left."""
        self._at_first_ns = _length(left)
        self._longest_ns = max(down(longest_ns, self._period_ns), self._period_ns)
        self._reach_ns = self._longest_ns
        """So much is asked for now."""
        self._pace = pace
        self._pauses = Backoff(*PAUSES_S)
        self._looks = Backoff(*LOST_S)
        self._not_before_boot_ns = 0
        self._failures = 0
        """In a row."""
        self._streak = 0
        self._reason = ""
        self._failed = False
        self._rows = 0
        self._frames = 0
        self._answered_boot_ns: deque[int] = deque(maxlen=MEASURED)

    @classmethod
    def empty(cls, period_s: int, wanted: Pair) -> "Filling":
        """One that has nothing to ask for."""
        return cls(period_s=period_s, wanted=wanted, left=(), longest_ns=period_s * NS, pace=Pace())

    @property
    def frames(self) -> int:
        """So many answers came."""
        return self._frames

    @property
    def over(self) -> bool:
        """There is nothing left, or no sense in going on."""
        return self._failed or not self._left

    @property
    def not_before_boot_ns(self) -> int:
        """It waits until then, CLOCK_BOOTTIME."""
        return self._not_before_boot_ns

    def next(self, boot_ns: int) -> Stretch | None:
        """What to ask for now; None: nothing, or it has to wait."""
        if self.over or boot_ns < self._not_before_boot_ns:
            return None
        to_ns = self._left[-1][1]
        earliest_ns = to_ns - self._reach_ns
        within = (max(a, earliest_ns) for a, b in self._left if b > earliest_ns)
        return Stretch(min(within), to_ns)

    def took(self, asked: Stretch, told: Pair, rows: int, boot_ns: int) -> None:
        """The provider has so many bars of a stretch."""
        before_ns = _length(self._left)
        self._settle([told])
        if _length(self._left) == before_ns:
            self.failed(
                "unanswered",
                "the venue gave nothing of what it was asked for",
                None,
                asked,
                boot_ns,
            )
            return
        self._rows += rows
        self._frames += 1
        self._answered_boot_ns.append(boot_ns)
        self._streak = 0
        self._go_on()
        self._reach_ns = min(2 * self._reach_ns, self._longest_ns)

    def unavailable(self, asked: Stretch, reason: str, first_ns: int | None) -> Pair:
        """It won't give what was asked for; from `first_ns` on it does. Gives what to note."""
        never = self._never(asked, first_ns)
        self._streak = 0 if first_ns else self._streak + 1
        self._settle([never])
        self._go_on()
        if self._streak >= STREAK and self._left:
            self._failed = True
            self._reason = f"of {STREAK} frames in a row none is to be had: {reason}"
        return never

    def failed(
        self, why: Why, reason: str, pause_s: float | None, asked: Stretch, boot_ns: int
    ) -> Pair | None:
        """There is no answer now. Gives what to note as not to be had, if that is what it means."""
        self._reason = reason
        self._wait(self._pause_s(why, pause_s), boot_ns)
        if why in ("throttled", "lost"):
            return None
        self._failures += 1
        if asked.to_ns - asked.from_ns > self._period_ns:
            self._ask_for_less(asked, why)
            return None
        return self._give_up(asked, why) if self._failures >= TRIES else None

    def progress(self, boot_ns: int) -> Progress:
        """How far it is."""
        left = joined([*self._left, *self._aside])
        left_ns, frames_left = _length(left), frames_of(left, self._longest_ns)
        per_s = self._per_s()
        wait_s = 0.0 if self.over else max(0, self._not_before_boot_ns - boot_ns) / NS
        return Progress(
            state=self._state(wait_s),
            reason=self._reason,
            wait_s=wait_s,
            settled_from_ns=left[-1][1] if left else self._wanted[0],
            rows=self._rows,
            frames=self._frames,
            left_ns=left_ns,
            frames_left=frames_left,
            share=1 - left_ns / self._at_first_ns if self._at_first_ns else 1.0,
            per_minute=per_s and 60 * per_s,
            eta_s=self._eta_s(frames_left, per_s, wait_s),
        )

    def _state(self, wait_s: float) -> State:
        if self._failed:
            return "failed"
        if not self._left:
            return "done"
        return "waiting" if wait_s else "running"

    def _per_s(self) -> float | None:
        times = self._answered_boot_ns
        took_ns = times[-1] - times[0] if times else 0
        return (len(times) - 1) * NS / took_ns if took_ns > 0 else None

    def _eta_s(self, frames_left: int, per_s: float | None, wait_s: float) -> float | None:
        """By what was measured, but no sooner than the provider's rates let it."""
        if not frames_left:
            return 0.0
        measured_s = frames_left / per_s if per_s else None
        if measured_s is None or self._failed:
            return None
        return wait_s + max(measured_s, at_least_s(self._pace, frames_left))

    def _settle(self, stretches: Iterable[Pair]) -> None:
        told = list(stretches)
        self._left = without(self._left, told)
        self._aside = without(self._aside, told)
        if not self._left:
            self._left, self._aside = self._aside, []

    def _go_on(self) -> None:
        """There was an answer."""
        self._failures = 0
        self._reason = ""
        self._pauses.reset()
        self._looks.reset()

    def _never(self, asked: Stretch, first_ns: int | None) -> Pair:
        """What isn't to be had: all before the first data, where that is known."""
        if first_ns is None or first_ns <= asked.from_ns:
            return asked
        begin_ns = up(first_ns, self._period_ns)
        return min(self._wanted[0], asked.from_ns), min(begin_ns, asked.to_ns)

    def _pause_s(self, why: Why, pause_s: float | None) -> float:
        """How long to wait after an answer of this kind."""
        match why:
            case "throttled" if pause_s is not None:
                return pause_s
            case "lost":
                return self._looks.pause()
            case "unsound":
                return UNSOUND_S
        return self._pauses.pause()

    def _wait(self, pause_s: float, boot_ns: int) -> None:
        self._not_before_boot_ns = boot_ns + round(pause_s * NS)

    def _ask_for_less(self, asked: Stretch, why: Why) -> None:
        if why == "unsound" or self._failures > 1:
            half_ns = down((asked.to_ns - asked.from_ns) // 2, self._period_ns)
            self._reach_ns = max(half_ns, self._period_ns)
            if self._reach_ns == self._period_ns:
                self._failures = 0  # those were of more than one period

    def _give_up(self, asked: Stretch, why: Why) -> Pair | None:
        self._failures = 0
        self._reach_ns = self._longest_ns
        if why == "unsound":
            self._settle([asked])
            return asked
        self._left, self._aside = without(self._left, [asked]), joined([*self._aside, asked])
        if not self._left:
            self._left, self._aside = self._aside, []
        return None


def _whole(stretches: Iterable[Pair], period_ns: int) -> list[Pair]:
    """The whole periods within."""
    cut = ((up(a, period_ns), down(b, period_ns)) for a, b in stretches)
    return [(a, b) for a, b in cut if a < b]


def _length(stretches: Iterable[Pair]) -> int:
    return sum(b - a for a, b in stretches)
