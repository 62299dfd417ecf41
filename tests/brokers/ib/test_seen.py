"""What a search finds without asking, and in which order."""

from piker.brokers.ib.memory import Memory
from piker.brokers.ib.messages import Contract, Sample
from piker.brokers.ib.seen import SEEN, Seen
from piker.interfaces.data import Match


def names(found: tuple[Match, ...]) -> list[str]:
    """The fqmes, in order."""
    return [match.fqme for match in found]


def sample(symbol: str, kind: str = "STK", venue: str = "NYSE", currency: str = "USD") -> Sample:
    """Something that the gateway finds."""
    contract = Contract(symbol=symbol, sec_type=kind, primary_exchange=venue, currency=currency)
    return Sample(contract=contract, derivatives=(), description=f"THE {symbol} COMPANY")


def test_what_has_no_name_here_is_not_found() -> None:
    seen = Seen()
    assert seen.learn((sample("A"), sample("B", "BOND"), sample("C", "BAG"))) == ("a.nyse.ib",)


def test_what_the_gateway_found_for_its_own_reasons_comes_last() -> None:
    seen = Seen()
    theirs = seen.learn((sample("KO"), sample("COKE")))
    assert names(seen.best("cok", theirs, {}, 5)) == ["coke.nyse.ib", "ko.nyse.ib"]


def test_not_more_is_remembered_than_there_is_room_for() -> None:
    seen = Seen()
    seen.learn(tuple(sample(f"S{number}") for number in range(SEEN + 10)))
    assert len(seen.descriptions) == SEEN
    assert names(seen.best("s0", (), {}, 5)) == []


def test_what_is_told_of_a_market_now_wins_over_what_was_found() -> None:
    seen = Seen()
    seen.learn((sample("A"),))
    assert seen.best("a.", (), {"a.nyse.ib": "A INC"}, 5)[0].description == "A INC"


def test_a_memory_forgets_what_was_not_used_the_longest() -> None:
    memory: Memory[str, int] = Memory(2)
    memory.put("a", 1)
    memory.put("b", 2)
    memory.get("a")
    memory.put("c", 3)
    assert dict(memory.items()) == {"a": 1, "c": 3}
    assert memory.get("b") is None
