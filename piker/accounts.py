"""What is held and where: accounts, positions, and what changed them that was no fill of ours."""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from piker.orders import NOTHING, Execution

AdjustmentKind = Literal["opening", "corporate", "unexplained"]
AccountReadiness = Literal["reconciling", "ready", "unreachable"]
PAPER = "paper"


class Account(Struct, frozen=True):
    """An account in its two parts: paper.PROVIDER, or PROVIDER.LABEL."""

    provider: str
    label: str

    def __str__(self) -> str:
        return f"{PAPER}.{self.provider}" if self.is_paper else f"{self.provider}.{self.label}"

    @property
    def is_paper(self) -> bool:
        """Whether it is cleared here, by paperboi."""
        return self.label == PAPER


def parse_account(name: str, provider: str) -> Account | None:
    """The account that a name means in a market of a provider; None: it can't be one.

    "paper" is that of the market's provider. No other name is completed.
    """
    first, _, label = name.partition(".")
    if first == PAPER:
        return Account(label or provider, PAPER)
    return Account(first, label) if first and label and label != PAPER else None


class Balance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an account is worth and may spend, by its venue; what is left out it didn't say."""

    account: Annotated[str, Meta(description="PROVIDER.LABEL")]
    currency: Annotated[str, Meta(description="of all sums here")]
    asked_ns: Annotated[int, Meta(description="when the venue was asked, UTC ns")]
    net_liquidation: Annotated[
        Decimal | None, Meta(description="what all would come to if it were sold now")
    ] = None
    cash: Annotated[Decimal | None, Meta(description="in it; negative: owed")] = None
    margin: Annotated[Decimal | None, Meta(description="bound by what is held")] = None
    available: Annotated[Decimal | None, Meta(description="free for new positions")] = None
    buying_power: Annotated[Decimal | None, Meta(description="of stock that could be bought")] = (
        None
    )


class AccountState(Struct, frozen=True, kw_only=True):
    """Whether orders of an account can leave."""

    account: Annotated[str, Meta(description="paper.PROVIDER or PROVIDER.LABEL")]
    live: Annotated[
        bool | None,
        Meta(
            description="real money, as the broker daemon says, and before it was reached the "
            "configuration; null: neither does, so take it for real money"
        ),
    ]
    state: Annotated[
        AccountReadiness,
        Meta(description="reconciling: asking the venue; unreachable: nothing leaves"),
    ]
    since_ns: Annotated[int, Meta(description="when this state began, UTC ns")]
    reason: Annotated[str, Meta(description="why, for people")] = ""
    unexplained: Annotated[
        tuple[str, ...],
        Meta(description="markets where only reducing orders leave until AcceptPosition"),
    ] = ()
    balance: Annotated[
        Balance | None, Meta(description="null: not known, or it is cleared here")
    ] = None


class Adjustment(Struct, frozen=True, kw_only=True):
    """What an account's holding was changed by that is no execution of ours."""

    adjustment_id: Annotated[str, Meta(description="unique among the account's adjustments")]
    revision: Annotated[
        int,
        Meta(
            description="0, then counts up: a later one replaces, when executions are imported "
            "that it stood in for"
        ),
    ] = 0
    account: Annotated[str, Meta(description="paper.PROVIDER or PROVIDER.LABEL")]
    market: Annotated[str, Meta(description="fqme")]
    kind: Annotated[
        AdjustmentKind,
        Meta(
            description="opening: held at the first connection; "
            "corporate: split, conversion; unexplained: the venue says so"
        ),
    ]
    size: Annotated[Decimal, Meta(description="contracts or units; negative: less, or short")]
    price: Annotated[
        Decimal | None, Meta(description="in the market's currency; null: nobody knows, or none")
    ] = None
    source: Annotated[str, Meta(description="where it came from, for people")] = ""
    time_ns: Annotated[int, Meta(description="since when it counts, UTC ns")]


Entry = Execution | Adjustment


class Fees(Struct, frozen=True):
    """What was paid in one currency."""

    currency: Annotated[str, Meta(description="ISO 4217 or the venue's code")]
    paid: Annotated[Decimal, Meta(description="negative: received")]


class Position(Struct, frozen=True, kw_only=True):
    """What an account holds in a market, and what that earned. Money is in `currency`."""

    account: Annotated[str, Meta(description="paper.PROVIDER or PROVIDER.LABEL")]
    market: Annotated[str, Meta(description="fqme")]
    currency: Annotated[str, Meta(description="of prices, profits and the cash flow")]
    multiplier: Annotated[
        Decimal, Meta(description="currency units that one unit of price moves one contract")
    ]
    size: Annotated[Decimal, Meta(description="contracts or units; negative: short")] = NOTHING
    unpriced: Annotated[
        Decimal, Meta(description="how much of the size has no price and earns nothing, signed")
    ] = NOTHING
    average_price: Annotated[
        Decimal | None, Meta(description="of what is priced, 28 digits; null: nothing is")
    ] = None
    realised: Annotated[Decimal, Meta(description="profit of what was closed, before fees")] = (
        NOTHING
    )
    cash_flow: Annotated[
        Decimal, Meta(description="received less paid, before fees; what is held not counted")
    ] = NOTHING
    fees: Annotated[
        tuple[Fees, ...],
        Meta(description="paid so far, by currency in its order"),
    ] = ()
