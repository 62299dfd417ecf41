"""Accounts at IB by a person's own labels: their numbers stand in the configuration, nowhere else.

A number that begins with DU or DF is one of IB's paper accounts: no real money.
"""

import re
from collections.abc import Collection, Mapping

from piker.accounts import PAPER
from piker.brokers.ib import Settings

PREFIX = "ib."
"""Before the label, in an account's whole name."""

_NUMBER = re.compile(r"[A-Z]{1,5}[0-9]{3,15}")
_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]*")
_PAPER = ("DU", "DF")


class BadAccounts(ValueError):
    """What is set can't be traded on; the text says what was expected."""


class AccountNames:
    """The accounts that are set, by label. Raises BadAccounts, which shows no number whole."""

    def __init__(self, numbers: Mapping[str, str]) -> None:
        _check(numbers)
        self._numbers = {f"{PREFIX}{label}": number for label, number in numbers.items()}
        self._names = {number: name for name, number in self._numbers.items()}
        self._seen = set(self._names)

    @property
    def whole_names(self) -> tuple[str, ...]:
        """As accounts are named everywhere else: ib.LABEL."""
        return tuple(self._numbers)

    @property
    def live(self) -> bool:
        """Whether they are real money: all of them, or none."""
        return not any(map(is_paper, self._names))

    def number_of(self, name: str) -> str:
        """The number by which IB knows an account."""
        return self._numbers[name]

    def name_of(self, number: str) -> str | None:
        """The whole name of an account, or None of one that isn't set."""
        return self._names.get(number)

    def why_not_there(self, there: Collection[str]) -> str:
        """Which of them a gateway that has these accounts lacks, in words; empty: none."""
        self._seen.update(there)
        missing = [f"{n} ({shortened(no)})" for n, no in self._numbers.items() if no not in there]
        if not missing:
            return ""
        has = ", ".join(map(shortened, there)) or "none"
        return (
            f"the gateway doesn't have {', '.join(missing)}, it has {has}: log in there as the "
            "account's user, or set providers.ib.accounts in piker.toml"
        )

    def hidden(self, text: str) -> str:
        """A text without any whole number that is known here."""
        return hidden(text, self._seen)


def known_accounts(settings: Settings) -> dict[str, bool]:
    """The accounts that are set, by whole name: True: real money. None where they make no sense."""
    try:
        names = AccountNames(settings.accounts)
    except BadAccounts:
        return {}
    return dict.fromkeys(names.whole_names, names.live)


def hidden(text: str, numbers: Collection[str]) -> str:
    """A text without any of these numbers whole."""
    for number in sorted(numbers, key=len, reverse=True):
        text = text.replace(number, shortened(number))
    return text


def is_paper(number: str) -> bool:
    """Whether it is one of IB's paper accounts."""
    return number.startswith(_PAPER)


def shortened(number: str) -> str:
    """Enough of a number to tell it from one's others: U12…67."""
    return f"{number[:3]}…{number[-2:]}" if len(number) > 6 else f"{number[:1]}…"


def _check(numbers: Mapping[str, str]) -> None:
    if not numbers:
        raise BadAccounts('expected an account by a label of yours, { main = "U…" }, was none')
    for label, number in numbers.items():
        if not _LABEL.fullmatch(label) or label == PAPER:
            raise BadAccounts(f"expected a label such as main, and not paper, was {label!r}")
        if not _NUMBER.fullmatch(number):
            short = shortened(number)
            raise BadAccounts(f"expected letters and digits such as U… of {label}, was {short}")
    if len(set(numbers.values())) < len(numbers):
        raise BadAccounts("expected a number of its own for each label, was one number twice")
    if len(set(map(is_paper, numbers.values()))) > 1:
        shown = ", ".join(f"{label} {shortened(number)}" for label, number in numbers.items())
        raise BadAccounts(
            "expected real money or IB's paper accounts (DU…, DF…), not both behind one gateway, "
            f"was {shown}"
        )
