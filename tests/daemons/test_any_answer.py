"""datad: whatever a provider answers about its past, what is on disk in the end is the truth."""

from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from piker import clock
from piker.core.backfilling import TRIES
from piker.core.bars import NS
from piker.core.rows import rows_of
from piker.core.spans import joined, without
from tests.conftest import BOOT_NS, WALL_NS
from tests.daemons.test_backfilling import SECONDS, SLOW, a_store, at_once, back, told
from tests.fakes import twists
from tests.fakes.past import Past, Twist, truth
from tests.fakes.twists import TWISTS

PATIENCE_S = 100_000
"""Of trio's clock: each of the 25 wrong answers may be waited for, and after it."""


@pytest.fixture
def our_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons' clocks go with trio's, and threads take none of it."""
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    for name, start_ns in (("wall_ns", WALL_NS), ("boot_ns", BOOT_NS)):
        monkeypatch.setattr(clock, name, partial(_since, start_ns))


def _since(start_ns: int) -> int:
    return start_ns + round(trio.current_time() * NS)


@pytest.mark.usefixtures("our_time")
@given(script=st.lists(st.sampled_from(TWISTS), max_size=25), seconds=st.integers(1, 400))
@example(script=[twists.no_number, twists.older_half, twists.older_half], seconds=4)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_a_provider_answers_the_store_equals_the_truth_and_no_limit_is_broken(
    script: list[Twist], seconds: int
) -> None:
    past = Past(pace=SLOW)
    past.script = list(script)
    with TemporaryDirectory() as directory:
        trio.run(fill, Path(directory), past, seconds, clock=MockClock(autojump_threshold=0))
    for rate in SLOW.rates:
        spans = zip(past.asked_at, past.asked_at[rate.questions :], strict=False)
        assert all(after - before >= rate.per_s - 1e-6 for before, after in spans)
    assert max(past.under_way, default=0) <= SLOW.at_once
    assert all(each.to_ns - each.from_ns <= past.frames[1] for each in past.asked)


async def fill(directory: Path, past: Past, seconds: int) -> None:
    """Fill back, and see what is there then."""
    async with a_store(directory, past, patience_s=PATIENCE_S) as (desk, archive):
        last = (await told(desk, back(seconds)))[-1]
        end_s = (last.to_ns - WALL_NS) // NS - 2
        assert last.state == "done"
        given_up = [
            (each.from_ns + at * NS, each.from_ns + (at + 1) * NS)
            for each in last.unavailable
            for at in range((each.to_ns - each.from_ns) // NS)
        ]
        alone = Counter((each.from_ns, each.to_ns) for each in past.asked)
        assert all(alone[each] >= TRIES for each in given_up)
        wanted = (WALL_NS - seconds * NS, WALL_NS + end_s * NS)
        there = without([wanted] if seconds > 2 else [], given_up)
        spans = await archive.coverage(SECONDS, 0, 2 * WALL_NS)
        assert joined((each.from_ns, each.to_ns) for each in spans) == there
        true = [bar for stretch in there for bar in truth(1, *stretch)]
        assert np.array_equal(await archive.read(SECONDS, *wanted), rows_of(true))
