"""Twenty kills at random points, with hundreds of orders under way; `make torture` does a thousand.

The seed stands in what pytest shows of a failure; `python -m tests.torture --seed S` runs it again.
"""

import secrets

import pytest

from tests.torture.ib import IB
from tests.torture.run import torture
from tests.torture.sim import SIM
from tests.torture.venues import Kind

KILLS = 20


@pytest.mark.parametrize("kind", [SIM, IB], ids=str)
async def test_after_kills_both_sides_books_agree_and_nothing_is_lost_or_doubled(
    kind: Kind,
) -> None:
    run = await torture(KILLS, secrets.randbelow(1_000_000), kind=kind)
    assert len(run.load.promised) > 100
    assert run.follower.seq > 300
