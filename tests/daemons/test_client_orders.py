"""piker.client: emsd's orders, followed over its restarts without a gap or a repeat."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal

import pytest
import trio
from trio.testing import MockClock

from piker import client
from piker.core.mirror import Change, Mirror
from piker.errors import Refused, Unreachable
from piker.interfaces.orders import BrokenJournal, NoSuchOrder, Orders
from piker.orders import Acked, CancelAsked, Cancelled, Sending, Submitted
from tests.fakes.scripted_emsd import Emsd, fill, listening, order

SENDING = Sending(size=Decimal(1000), limit=Decimal("1.2"), not_after_ns=1)
ACKED = Acked(venue_id="v1")


def with_orders(*oids: str) -> Emsd:
    """One to which these were submitted."""
    emsd = Emsd()
    for oid in oids:
        emsd.tell(oid, Submitted(order=order(oid)))
    return emsd


def numbers(changes: list[Change]) -> list[int | None]:
    """Of their events."""
    return [each.news.seq if each.news else None for each in changes]


class Follower:
    """A task that follows, and what it has got."""

    def __init__(self) -> None:
        self.mirror = Mirror()
        self.changes: list[Change] = []
        self.lost: list[Unreachable] = []
        self._got = trio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with aclosing(client.follow_orders(self.mirror, self.lost.append)) as replies:
            async for changes in replies:
                self.changes += changes
                self._got.set()
                self._got = trio.Event()

    async def until(self, seq: int) -> None:
        """Wait until it is so far."""
        while self.mirror.since is None or self.mirror.since < seq:
            await self._got.wait()


@asynccontextmanager
async def following() -> AsyncIterator[Follower]:
    """One that follows meanwhile."""
    follower = Follower()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.run)
        with trio.fail_after(30):
            yield follower
        nursery.cancel_scope.cancel()


async def test_the_book_comes_first_in_as_many_parts_as_it_takes_then_events() -> None:
    emsd = with_orders("a", "b", "c")
    emsd.book_part = 1
    async with listening(emsd), following() as follower:
        await follower.until(3)
        emsd.tell("b", SENDING, ACKED)
        await follower.until(5)
    assert [each.life.order.oid for each in follower.changes] == ["a", "b", "c", "b", "b"]
    assert numbers(follower.changes) == [None, None, None, 4, 5]
    assert [each.life.state for each in follower.changes[-2:]] == ["sending", "open"]


async def test_after_a_restart_it_goes_on_where_it_was() -> None:
    emsd = with_orders("a")
    async with following_over_a_restart(emsd) as follower:
        emsd.tell("a", SENDING, ACKED)
        async with listening(emsd):
            await follower.until(3)
            emsd.tell("a", fill("a"))
            await follower.until(4)
    assert emsd.since == [None, 1]
    assert numbers(follower.changes) == [None, 2, 3, 4]
    assert follower.lost


async def test_that_emsd_is_away_is_said_once_however_long_it_is(autojump_clock: MockClock) -> None:
    emsd = with_orders("a")
    async with following_over_a_restart(emsd) as follower:
        await trio.sleep(10)
        assert len(follower.lost) == 1
        async with listening(emsd):
            emsd.tell("a", SENDING)
            await follower.until(2)
        await trio.sleep(10)
        assert len(follower.lost) == 2


@asynccontextmanager
async def following_over_a_restart(emsd: Emsd) -> AsyncIterator[Follower]:
    """One that has the book of an emsd that has gone then."""
    async with trio.open_nursery() as nursery:
        async with listening(emsd):
            follower = Follower()
            nursery.start_soon(follower.run)
            await follower.until(emsd.seq)
        with trio.fail_after(30):
            yield follower
        nursery.cancel_scope.cancel()


async def test_what_is_too_old_is_taken_anew_and_compared() -> None:
    emsd = with_orders("a", "b")
    async with following_over_a_restart(emsd) as follower:
        emsd.tell("a", SENDING, ACKED, fill("a"))
        emsd.first_seq = 4
        async with listening(emsd):
            await follower.until(5)
    assert emsd.since == [None, 2, None]
    (missed,) = follower.changes[2:]
    assert missed.before is not None
    assert (missed.before.state, missed.life.state, missed.news) == ("held", "filled", None)


async def test_a_journal_that_is_an_older_copy_is_taken_anew() -> None:
    emsd = with_orders("a", "b")
    async with following_over_a_restart(emsd) as follower:
        older = with_orders("a")
        async with listening(older):
            await older.until(lambda emsd: emsd.followers == 1)
    assert older.since == [2, None]
    assert list(follower.mirror.lives) == ["a"]


async def test_one_that_is_not_there_at_first_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="emsd does not listen at "):
        await Follower().run()


async def test_a_refusal_is_the_follower_s() -> None:
    emsd = Emsd()
    emsd.refuses[Orders] = BrokenJournal(path="journal", problem="torn")
    async with listening(emsd):
        with pytest.raises(Refused, match="torn"):
            await Follower().run()


async def order_s(oid: str, lost: list[Unreachable]) -> list[Change]:
    """An order's changes, to its end."""
    async with aclosing(client.follow_order(oid, lost.append)) as changes:
        return [each async for each in changes]


async def test_an_order_is_followed_from_its_beginning_to_its_end_and_others_are_not() -> None:
    emsd = with_orders("a", "b")
    got: list[Change] = []

    async def follow() -> None:
        got.extend(await order_s("a", []))

    async with listening(emsd), trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await emsd.until(lambda emsd: emsd.followers == 1)
        emsd.tell("a", SENDING)
        emsd.tell("b", CancelAsked())
        emsd.tell("a", ACKED, fill("a"))
    assert numbers(got) == [1, 3, 5, 6]
    assert [each.life.state for each in got] == ["held", "sending", "open", "filled"]


async def test_an_order_that_is_closed_is_told_and_not_waited_for() -> None:
    emsd = with_orders("a")
    emsd.tell("a", SENDING, ACKED, Cancelled())
    async with listening(emsd):
        assert numbers(await order_s("a", [])) == [1, 2, 3, 4]
    assert emsd.since == []


async def test_what_of_an_order_was_missed_is_told_all_the_same() -> None:
    emsd = with_orders("a")
    got: list[Change] = []
    lost: list[Unreachable] = []

    async def follow() -> None:
        got.extend(await order_s("a", lost))

    async with trio.open_nursery() as nursery:
        async with listening(emsd):
            nursery.start_soon(follow)
            await emsd.until(lambda emsd: emsd.followers == 1)
        emsd.tell("a", SENDING, ACKED)
        emsd.first_seq = 3
        async with listening(emsd):
            await emsd.until(lambda emsd: emsd.followers == 1)
            emsd.tell("a", fill("a"))
            await emsd.until(lambda emsd: emsd.followers == 0)
    assert numbers(got) == [1, 2, 3, 4]
    assert lost


async def test_an_order_that_ended_unseen_and_long_ago_is_told_to_its_end() -> None:
    emsd = with_orders("a")
    got: list[Change] = []

    async def follow() -> None:
        got.extend(await order_s("a", []))

    async with trio.open_nursery() as nursery:
        async with listening(emsd):
            nursery.start_soon(follow)
            await emsd.until(lambda emsd: emsd.followers == 1)
        emsd.tell("a", SENDING, ACKED, fill("a"))
        emsd.first_seq, emsd.archived = 4, {"a"}
        async with listening(emsd):
            with trio.fail_after(30):
                await emsd.until(lambda emsd: len(emsd.since) == 3 and emsd.followers == 0)
    assert numbers(got) == [1, 2, 3, 4]


async def test_an_order_that_there_is_not_is_refused() -> None:
    async with listening(Emsd()):
        with pytest.raises(Refused) as refused:
            await order_s("x", [])
    assert refused.value.fault == NoSuchOrder(oid="x")
