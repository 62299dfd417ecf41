"""Markets of which only the name, the kind and the sessions matter; times; the shipped rows."""

import csv
import gzip
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from piker.core.spans import Pair
from piker.markets import AssetClass, Market, Session

NS = 1_000_000_000
HOUR, DAY = 3600 * NS, 86_400 * NS
DATA = Path(__file__).resolve().parent.parent / "data"


def market(
    fqme: str,
    asset_class: AssetClass = "stock",
    *,
    currency: str = "USD",
    sessions: Iterable[Pair] | None = (),
) -> Market:
    """A market; () is one of whose sessions its provider says nothing."""
    told = None if sessions is None else tuple(Session(open_ns=a, close_ns=b) for a, b in sessions)
    return Market(
        fqme=fqme,
        venue_id="1",
        description="a market",
        asset_class=asset_class,
        currency=currency,
        price_tick=Decimal("0.01"),
        size_tick=Decimal(1),
        multiplier=Decimal(1),
        sessions=told,
        has_trades=True,
        has_volume=True,
        has_bid=True,
        has_ask=True,
    )


def at(text: str) -> int:
    """An instant, in UTC if it doesn't say else, ns."""
    zone = "" if "+" in text or text[-6] == "-" else "+00:00"
    return int(datetime.fromisoformat(text + zone).timestamp()) * NS


def pairs(*texts: str) -> list[Pair]:
    """Stretches of "FROM TO"."""
    return [(at(one), at(two)) for one, two in map(str.split, texts)]


def times(name: str) -> NDArray[np.int64]:
    """The stamps of a file of shipped rows, ns."""
    with gzip.open(DATA / f"{name}.csv.gz", "rt", newline="") as file:
        return np.array([at(row["time_utc"].removesuffix("Z")) for row in csv.DictReader(file)])
