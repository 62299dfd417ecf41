"""What followers are told comes in parts that fit a message each."""

from msgspec import structs

from piker.core.lifecycle import begin
from piker.emsd import NEWS_PART, PART_WEIGHT, _parts
from piker.interfaces.orders import OrderNews
from piker.orders import Life, Submitted
from tests.store.samples import fill, order

NEWS = OrderNews(seq=1, time_ns=1, oid="o", account="a", event=Submitted(order=order("o")))
LIFE = begin(Submitted(order=order("o")))


def with_fills(count: int) -> Life:
    return structs.replace(LIFE, executions=(fill(),) * count)


def test_short_lives_come_many_together() -> None:
    parts = list(_parts([(NEWS, LIFE)] * (NEWS_PART + 1)))
    assert [len(part) for part in parts] == [NEWS_PART, 1]


def test_lives_with_many_executions_come_few_together() -> None:
    parts = list(_parts([(NEWS, with_fills(PART_WEIGHT // 2 - 1))] * 3))
    assert [len(part) for part in parts] == [2, 1]


def test_one_that_is_longer_than_a_part_comes_alone() -> None:
    parts = list(_parts([(NEWS, LIFE), (NEWS, with_fills(2 * PART_WEIGHT)), (NEWS, LIFE)]))
    assert [len(part) for part in parts] == [1, 1, 1]
