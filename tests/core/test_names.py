import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.names import resolve, similar
from piker.errors import Refused
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket

FQMES = {
    "eurusd.spot.replay",
    "eurusd.cme.20261218.replay",
    "if2312.cffex.replay",
    "aapl.nasdaq.replay",
    "aapl.nasdaq.option.replay",
}


@pytest.mark.parametrize(
    ("name", "fqme"),
    [
        ("eurusd.spot.replay", "eurusd.spot.replay"),
        ("eurusd.spot", "eurusd.spot.replay"),
        ("EurUsd.SPOT", "eurusd.spot.replay"),
        (" if2312 ", "if2312.cffex.replay"),
        ("if2312.replay", "if2312.cffex.replay"),
        ("eurusd.cme", "eurusd.cme.20261218.replay"),
        ("aapl.nasdaq", "aapl.nasdaq.replay"),
    ],
)
def test_less_than_the_whole_name_is_enough_where_it_is_unambiguous(name: str, fqme: str) -> None:
    assert resolve(name, FQMES, "replay") == fqme


@pytest.mark.parametrize("name", ["eurusd", "eurusd.replay", "EURUSD"])
def test_an_ambiguous_name_is_refused_with_the_candidates(name: str) -> None:
    with pytest.raises(Refused) as refused:
        resolve(name, FQMES, "replay")
    candidates = ("eurusd.cme.20261218.replay", "eurusd.spot.replay")
    assert refused.value.fault == AmbiguousMarket(market=name, candidates=candidates)


@pytest.mark.parametrize(
    "name", ["", ".", "eur", "replay", "eurusd.spot.ib", "x.y", "eurusd..spot"]
)
def test_a_name_that_no_market_has_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        resolve(name, FQMES, "replay")
    assert isinstance(refused.value.fault, NoSuchMarket)
    assert refused.value.fault.market == name


def test_a_refusal_shows_names_that_begin_alike_best_first() -> None:
    assert similar("eurusd.spto", FQMES) == ("eurusd.spot.replay", "eurusd.cme.20261218.replay")
    assert similar("xyz", FQMES) == ()


def meaning(name: str) -> object:
    """The market that a name means, or the kind of refusal."""
    try:
        return resolve(name, FQMES, "replay")
    except Refused as no:
        return type(no.fault)


@given(st.text())
def test_any_name_means_a_market_or_is_refused(name: str) -> None:
    assert meaning(name) in {*FQMES, NoSuchMarket, AmbiguousMarket}


@given(st.sampled_from(sorted(FQMES)))
def test_every_whole_name_means_itself(fqme: str) -> None:
    assert resolve(fqme, FQMES, "replay") == fqme
    assert resolve(fqme.removesuffix(".replay").upper(), FQMES, "replay") == fqme
