"""Accounts by labels: real money or IB's paper, and never a whole number."""

import pytest

from piker.brokers.ib import Settings
from piker.brokers.ib.accountnames import (
    AccountNames,
    BadAccounts,
    known_accounts,
    shortened,
)


def test_an_account_is_known_by_its_label_and_its_number() -> None:
    names = AccountNames({"main": "U1234567", "family": "U7654321"})
    assert names.whole_names == ("ib.main", "ib.family")
    assert names.number_of("ib.family") == "U7654321"
    assert (names.name_of("U1234567"), names.name_of("U1")) == ("ib.main", None)


@pytest.mark.parametrize(
    ("numbers", "live"),
    [
        ({"a": "U1234567"}, True),
        ({"a": "F1234567"}, True),
        ({"a": "DU1234567"}, False),
        ({"a": "DF1234567", "b": "DU1234567"}, False),
    ],
)
def test_real_money_is_told_from_paper_by_the_number(numbers: dict[str, str], live: bool) -> None:
    assert AccountNames(numbers).live == live
    assert known_accounts(Settings(accounts=numbers)) == {f"ib.{name}": live for name in numbers}


@pytest.mark.parametrize(
    "numbers", [{}, {"a": "U1234567", "b": "DU1234567"}, {"a": "DU1234567", "b": "DU"}]
)
def test_what_cannot_be_traded_on_is_not_taken_for_paper(numbers: dict[str, str]) -> None:
    assert known_accounts(Settings(accounts=numbers)) == {}


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        ({}, "was none"),
        ({"paper": "DU1234567"}, "not paper"),
        ({"Main": "DU1234567"}, "was 'Main'"),
        ({"main": "12345678"}, "of main, was 123…78"),
        ({"main": ""}, "of main"),
        ({"a": "U1234567", "b": "U1234567"}, "twice"),
        ({"a": "U1234567", "b": "DU1234567"}, "was a U12…67, b DU1…67"),
    ],
)
def test_what_cannot_be_traded_on_is_named(numbers: dict[str, str], problem: str) -> None:
    with pytest.raises(BadAccounts) as raised:
        AccountNames(numbers)
    assert problem in str(raised.value)
    assert not any(number and number in str(raised.value) for number in numbers.values())


def test_what_a_gateway_lacks_is_said_with_what_it_has() -> None:
    names = AccountNames({"main": "U1234567"})
    assert names.why_not_there(["U1234567", "U2"]) == ""
    assert "ib.main (U12…67), it has U76…21:" in names.why_not_there(["U7654321"])
    assert "it has none" in names.why_not_there([])


def test_numbers_are_hidden_also_those_that_only_the_gateway_has() -> None:
    names = AccountNames({"main": "U1234567"})
    names.why_not_there(["U1234567", "U12345678"])
    assert names.hidden("U1234567 or U12345678?") == "U12…67 or U12…78?"


@pytest.mark.parametrize("number", ["U1234567", "U12345", "DU", "U", ""])
def test_a_shortened_number_is_not_whole(number: str) -> None:
    assert shortened(number) != number
