"""ib: market data and orders at Interactive Brokers, through a gateway of theirs.

Whoever is connected to a gateway can trade there: it asks for no secret. So datad goes by a lane
that passes requests for data only (piker.iblane), and brokerd@ib alone has the way to the gateway.
"""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, field

from piker import brokers
from piker.core.fees import FeeSchedule

DataKind = Literal["live", "frozen", "delayed", "delayed-frozen"]

DATA_CLIENT, ORDERS_CLIENT = 100, 1


class Settings(brokers.Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person may set for ib."""

    data: Annotated[
        str,
        Meta(
            description="gateway of market data: NAME (its socket is iblane@NAME's), "
            "tcp:HOST:PORT or unix:PATH"
        ),
    ] = "live"
    orders: Annotated[
        str,
        Meta(
            description="gateway of orders: NAME (its socket is ibgw@NAME's), tcp:HOST:PORT or "
            "unix:PATH"
        ),
    ] = "live"
    accounts: Annotated[
        dict[str, str],
        Meta(description='accounts at the gateway of orders, by your label: { main = "U1234567" }'),
    ] = field(default_factory=dict)
    data_client: Annotated[
        int, Meta(description="client id for market data, 100 to 131, one a program")
    ] = DATA_CLIENT
    orders_client: Annotated[
        int,
        Meta(description="client id for orders, 1 to 31; keep it: orders belong to it"),
    ] = ORDERS_CLIENT
    data_kind: Annotated[
        DataKind, Meta(description="live, or what is wanted where there is no subscription")
    ] = "live"
    lines: Annotated[
        int, Meta(description="markets at once that your subscriptions allow, 1 to 1000")
    ] = 100
    restart: Annotated[
        tuple[str, str] | None,
        Meta(
            description='when the gateway restarts, as ["23:45", "00:00"] in restart_zone: no new '
            "order is sent meanwhile"
        ),
    ] = None
    restart_zone: Annotated[str, Meta(description="time zone of restart")] = "America/New_York"
    gateway_zone: Annotated[
        str, Meta(description="time zone of the gateway, where it writes times without one")
    ] = "UTC"


PROVIDER = brokers.Provider(
    name="ib",
    doc="Interactive Brokers, through a gateway of theirs.",
    endpoints={
        "datad": {
            "open_venue": "piker.brokers.ib.feed:open_venue",
            "get_mkt_info": "piker.brokers.ib.feed:get_mkt_info",
            "stream_quotes": "piker.brokers.ib.feed:stream_quotes",
            "open_symbol_search": "piker.brokers.ib.search:open_symbol_search",
            "open_history_client": "piker.brokers.ib.history:open_history_client",
        },
        "brokerd": {
            "open_trade_dialog": "piker.brokers.ib.trade:open_trade_dialog",
            "check_settings": "piker.brokers.ib.trade:check_settings",
        },
        "doctor": {"examine": "piker.brokers.ib.reach:examine"},
        "emsd": {"known_accounts": "piker.brokers.ib.accountnames:known_accounts"},
    },
    settings=Settings,
    # lines are fewer: who has none waits for one
    limits=brokers.Limits(markets=1000),
    # IBKR Pro, fixed: what most stocks in US dollars cost (the page "Commissions Stocks", 2025)
    fees=FeeSchedule(per_unit=Decimal("0.005"), minimum=Decimal(1)),
)
