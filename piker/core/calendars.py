"""When a market is traded: what its provider says of the days around now, a calendar for the rest.

The calendars are `piker.core.calendartable`, made from a library, and two weeks by hand: of foreign
exchange and of spot metals.
"""

from functools import cache
from typing import NamedTuple

from piker.core.calendartable import TABLE
from piker.core.periods import NS
from piker.core.sessions import Sessions
from piker.core.spans import Pair, clipped, joined, without
from piker.core.tradingdays import Calendar, parse, sessions, usual
from piker.markets import Market

WARN_NS = 60 * 86_400 * NS
"""So long before a calendar ends a person is told."""

BY_HAND = {
    # Sunday to Friday, 17:00 to 17:00 New York: a day that is traded begins the evening before. On
    # 25 December 2017 the rows of tests/data/eurusd-2017-1h-ask-bars.csv.gz end at 03:00; of the
    # first of January, on which banks and brokers are closed, they show none but a Sunday.
    "FX": """
zone America/New_York
to 9998-12-31
hours 1971-01-01 17:00-17:00
closed every 0101
closes 03:00 every 1225
""",
    # As foreign exchange, with an hour's pause a day.
    "METALS": """
zone America/New_York
to 9998-12-31
hours 1971-01-01 18:00-17:00
closed every 0101 1225
""",
}
"""Calendars that are in no library, or there are wrong: its week of foreign exchange is UTC's."""

_VENUES = {
    "CMES": "cme globex cbot ecbot nymex comex cmecrypto cfe xcbt xnym xcec",
    "XASX": "asx",
    "XETR": "ibis ibis2 fwb fwb2 xetra xfra",
    "XEUR": "eurex dtb",
    "XHKG": "sehk",
    "XLON": "lse lseetf",
    "XMAD": "bm",
    "XMIL": "bvme bvme_etf",
    "XNYS": "nyse nasdaq arca amex bats pink value iex cboe island xnas xase arcx",
    "XPAR": "sbf aeb enext_be xams xbru",
    "XSES": "sgx",
    "XSHG": "sse szse xshe cffex ccfx",
    "XSTO": "sfb",
    "XSWX": "ebs",
    "XTKS": "tsej",
    "XTSE": "tse venture neoe cse",
    "XWBO": "vse",
}
"""Venues in names of markets, as Interactive Brokers and others call them, and by ISO 10383.

Amsterdam and Brussels have Paris' days. Futures of Chicago and New York have Globex's, those of
CFFEX Shanghai's.
"""
_AT = {venue: name for name, venues in _VENUES.items() for venue in venues.split()}
_AT |= {name.lower(): name for name in TABLE}
_SMART = {
    "AUD": "XASX",
    "CAD": "XTSE",
    "CHF": "XSWX",
    "GBP": "XLON",
    "HKD": "XHKG",
    "JPY": "XTKS",
    "SEK": "XSTO",
    "SGD": "XSES",
    "USD": "XNYS",
}
"""By the currency of what is at no exchange but `smart`. Of EUR it can't be told."""
_BY_KIND = {"forex": "FX", "commodity": "METALS"}
_ALWAYS = {"crypto", "simulated"}
"""Kinds of instruments that are always traded."""
_REPLAYED = "replay"
"""The provider whose times aren't those of the venues in its names."""


class Traded(NamedTuple):
    """What is known of when something may be traded."""

    market: Market | None = None
    """What its venue says of it; None: nothing."""
    calendar: str = ""
    """By which it is, as somebody says; it counts where nothing else tells."""

    def sessions(self, from_ns: int, to_ns: int) -> list[Pair] | None:
        """As `sessions_of`."""
        found = sessions_of(self.market, from_ns, to_ns) if self.market else None
        if found is not None or self.calendar not in names():
            return found
        calendar = named(self.calendar)
        open_ = sessions(calendar, (), from_ns, to_ns)
        return joined([*open_, *without([(from_ns, to_ns)], [calendar.known])])


def sessions_of(market: Market, from_ns: int, to_ns: int) -> list[Pair] | None:
    """When it may be traded between two instants: oldest first, apart, joined where they touch.

    Time of which neither its provider nor a calendar knows counts as time in which it may be.
    None: nothing is known of all of it.
    """
    asked, told = [(from_ns, to_ns)], _told(market.sessions)
    rest = without(asked, _told_of(calendar_of(market), told))
    open_, known = _of_the_rest(market, told, from_ns, to_ns)
    unknown = without(rest, known)
    if unknown == asked:
        return None
    by_calendar = without(open_, without(asked, rest))
    return joined([*clipped(told, from_ns, to_ns), *by_calendar, *unknown])


def calendar_of(market: Market) -> Calendar | None:
    """By what calendar it is traded; None: it isn't known, or it is always traded."""
    name = _name_of(market)
    return named(name) if name else None


@cache
def named(name: str) -> Calendar:
    """A calendar of the table or by hand. Raises KeyError."""
    return parse(name, BY_HAND.get(name) or TABLE[name])


def names() -> list[str]:
    """Of all calendars."""
    return sorted({*TABLE, *BY_HAND})


def runs_out(calendar: Calendar, now_ns: int) -> bool:
    """Whether it ends soon, or is over: what comes after isn't known by this version."""
    return calendar.known[1] - WARN_NS <= now_ns


def running_out(now_ns: int) -> list[Calendar]:
    """Those that end soon, or are over, by name."""
    return [each for name in sorted(TABLE) if runs_out(each := named(name), now_ns)]


def notice(market: Market, now_ns: int) -> str:
    """What a person should know of a market's calendar: that it runs out; or nothing."""
    calendar = calendar_of(market)
    if calendar is None or not runs_out(calendar, now_ns):
        return ""
    return (
        f"when {calendar.name} is closed is known until {calendar.last}: "
        "later its nights count as gaps; upgrade piker"
    )


def _told(sessions: Sessions) -> list[Pair]:
    return [(each.open_ns, each.close_ns) for each in sessions or ()]


def _told_of(calendar: Calendar | None, told: list[Pair]) -> list[Pair]:
    """The time of which a provider tells: to the end of its last day, which may be a short one.

    Of its first day it may leave out what was over when it was asked.
    """
    if not told:
        return []
    from_ns, to_ns = told[0][0], told[-1][1]
    return [(from_ns, calendar.end_of_day(to_ns - 1) if calendar else to_ns)]


def _of_the_rest(
    market: Market, told: list[Pair], from_ns: int, to_ns: int
) -> tuple[list[Pair], list[Pair]]:
    """When it is open where its provider says nothing, and the time of which that is known."""
    if market.asset_class in _ALWAYS:
        return [(from_ns, to_ns)], [(from_ns, to_ns)]
    calendar = calendar_of(market)
    if calendar is None:
        return [], []
    return sessions(calendar, usual(calendar, told), from_ns, to_ns), [calendar.known]


def _name_of(market: Market) -> str:
    """The name of its calendar, or none."""
    _, *places = market.fqme.split(".")
    venue = places[0] if len(places) > 1 else ""
    if _REPLAYED in places[-1:] or market.asset_class in _ALWAYS:
        return ""
    if venue == "smart":
        return _BY_KIND.get(market.asset_class) or _SMART.get(market.currency, "")
    return _BY_KIND.get(market.asset_class) or _AT.get(venue, "")
