"""The gate: what an order has to pass, when it is asked for, amended, triggered, and sent.

It can be an order in its market, it is within its account's limits, all isn't halted, and real
money is meant. It gives faults or raises them, and changes nothing but the count of what passed.
"""

from collections import defaultdict
from decimal import Decimal
from functools import cache, partial
from pathlib import Path

from msgspec import structs

from piker import clock, config
from piker.book import Book
from piker.clearing import Clearing
from piker.config import Configuration
from piker.core.orderchecks import why_invalid
from piker.core.risk import (
    Exposure,
    Prices,
    Proposal,
    Rate,
    at_stake,
    capped_size,
    check,
    not_reducing,
    only_reduces,
    prices_of,
)
from piker.dayprofit import DayProfit
from piker.errors import Refused, local_time
from piker.interfaces.broker import InvalidOrder
from piker.interfaces.orders import Halted, RiskRejected
from piker.markets import Market
from piker.orders import NOTHING, Life, Order
from piker.routing import unexplained
from piker.store import halt

LATEST_NS = 2**63 - 1
"""The last instant there is: what an order ends at is kept in 64 bits."""
PRICES = ("size", "limit", "trigger", "slip_max_pct")
OF_A_MARKET = ("order_notional", "position_notional", "distance_pct")
"""Limits that may be too narrow or too wide for one market alone, as its currency is another."""


class Gate:
    """Says why an order may not pass."""

    def __init__(
        self, book: Book, configuration: Configuration, directory: Path, clearing: Clearing
    ) -> None:
        self.day = DayProfit(book, configuration.emsd, lambda fqme: clearing.newest_price(fqme)[0])
        self._book = book
        self._directory = directory
        self._clearing = clearing
        self._rates: defaultdict[str, Rate] = defaultdict(Rate)
        self._limits_of = cache(partial(config.limits_of, configuration))
        self._configuration = configuration

    # --- what it is

    def check_numbers(self, order: Order) -> None:
        """Raises Refused(InvalidOrder) for what is no number, which can't even be compared."""
        for field in PRICES:
            value: Decimal | None = getattr(order, field)
            if value is not None and not value.is_finite():
                raise invalid(field, str(value), "a number")

    def check_form(self, order: Order, market: Market) -> None:
        """Raises Refused(InvalidOrder) for what can't be an order in its market."""
        wrong = self.why_malformed(order, market)
        if wrong:
            raise Refused(wrong)
        if order.kind == "alert" and order.tif == "ioc":
            raise invalid("tif", order.tif, "day or gtc, it waits for its trigger")
        ends_ns = order.expires_ns
        if ends_ns is not None and not clock.wall_ns() < ends_ns <= LATEST_NS:
            raise invalid("expires_ns", local_time(ends_ns), "a time to come, before 2262")

    def why_malformed(self, order: Order, market: Market) -> InvalidOrder | None:
        """What is wrong with its side, numbers or time in force, or None."""
        return why_invalid(
            market,
            side=order.side,
            size=order.size,
            kind=order.kind,
            limit=order.limit,
            trigger=order.trigger,
            tif=order.tif,
            slip_ticks=order.slip_ticks,
            slip_max_pct=order.slip_max_pct,
        )

    # --- what it risks

    def check_risk(self, order: Order, life: Life | None, size: Decimal) -> None:
        """Raises Refused: Halted, RiskRejected. `size`: what may still be filled of it.

        `life`: as it is now, if it is one that is known.
        """
        fault = self.why_risky(order, life, size)
        if fault:
            raise Refused(fault)

    def why_risky(
        self, order: Order, life: Life | None, size: Decimal
    ) -> Halted | RiskRejected | None:
        """Why an order may not pass. One that waits here for its trigger does, halted or not."""
        if order.kind == "alert":
            return None
        exposure = self.exposure(order, without=life)
        proposal = Proposal(
            side=order.side,
            size=size,
            limit=order.limit,
            trigger=order.trigger,
            reduce_only=order.reduce_only,
        )
        if only_reduces(proposal, exposure):
            return None
        if order.market in unexplained(self._book, order.account):
            return _unexplained(order, size)
        halted = None if order.trigger is not None else self.halted()
        limits = self._limits_of(order.account, order.market)
        market = self._book.markets[order.market]
        fault = check(proposal, market, exposure, limits, self._prices(order.market), halted)
        return self._with_setting(fault, order) if isinstance(fault, RiskRejected) else fault

    def why_halted(self, life: Life) -> Halted | None:
        """Why an order must not leave, at the last instant before it does."""
        halted = self.halted()
        if halted is None:
            return None
        order = life.order
        proposal = Proposal(side=order.side, size=at_stake(life), limit=life.limit)
        return None if only_reduces(proposal, self.exposure(order, without=life)) else halted

    def capped(self, order: Order, size: Decimal, life: Life | None = None) -> Decimal | None:
        """The size with which an order leaves, as `core.risk.capped_size` has it."""
        if not order.reduce_only:
            return size
        return capped_size(order.side, size, self.exposure(order, without=life))

    def reducing_size(self, order: Order, size: Decimal) -> Decimal:
        """The size with which an order that is to reduce leaves. Raises Refused if it can't."""
        capped = self.capped(order, size)
        if not capped:
            raise self._not_reducing(order, size, None)
        return capped

    def check_reduces(self, order: Order, size: Decimal, life: Life) -> None:
        """Raises Refused if so much of an order that is to reduce would do more than that."""
        if self.capped(order, size, life) != size:
            raise self._not_reducing(order, size, life)

    def _not_reducing(self, order: Order, size: Decimal, life: Life | None) -> Refused:
        exposure = self.exposure(order, without=life)
        return Refused(not_reducing(order.side, size, order.market, exposure))

    def _with_setting(self, fault: RiskRejected, order: Order) -> RiskRejected:
        """With where a limit is set, or can be, in piker.toml."""
        section = config.section_of(self._configuration, fault.limit, order.account, order.market)
        if section:
            where = f"as set by {section} {fault.limit} in piker.toml"
        else:
            only = f' or in [risk.markets."{order.market}"]' if fault.limit in OF_A_MARKET else ""
            change = f"set {fault.limit} in [risk]{only} of piker.toml, and restart emsd"
            where = f"by default; to change it, {change}"
        return structs.replace(fault, allowed=f"{fault.allowed}, {where}")

    def count(self, order: Order) -> None:
        """Count an order, or a change of one, that passed."""
        if order.kind != "alert":
            self._rates[order.account].add(clock.boot_ns())

    def halted(self) -> Halted | None:
        """The latch on disk, if it is set."""
        latch = halt.read(self._directory)
        return Halted(reason=latch.reason, since_ns=latch.since_ns) if latch else None

    def exposure(self, order: Order, without: Life | None) -> Exposure:
        """What an account has at stake besides an order."""
        account, market = order.account, order.market
        own = at_stake(without) if without else NOTHING
        buying, selling = (own, NOTHING) if order.side == "buy" else (NOTHING, own)
        currency = self._book.markets[market].currency
        return Exposure(
            position=self._book.position(account, market).size,
            working_buy=self._book.working(account, market, "buy") - buying,
            working_sell=self._book.working(account, market, "sell") - selling,
            open_orders=self._book.count_orders(account) - (without is not None),
            recent=self._rates[account].recent(clock.boot_ns()),
            day_profit=self.day.of(account, currency),
        )

    def _prices(self, fqme: str) -> Prices | None:
        """What is fresh; while a market is closed, what it showed last still stands."""
        market = self._clearing.markets.get(fqme)
        if market is None:
            return None
        state = market.state
        if state.state == "closed":
            state = structs.replace(state, state="live")
        return prices_of(market.ticks, state)


def invalid(field: str, value: str, allowed: str) -> Refused:
    """That a field of an order can't be what it is."""
    return Refused(InvalidOrder(field=field, value=value, allowed=allowed))


def _unexplained(order: Order, size: Decimal) -> RiskRejected:
    """What to say of more of what nobody knows where it came from."""
    look = "look at it, and take it as it is"
    accept = f"piker accept {order.account} {order.market} --note TEXT"
    return RiskRejected(
        limit="unexplained",
        value=f"{size:f} more, where nothing explains all of what is held of {order.market}",
        allowed=f"only what reduces it; {look}: {accept}",
    )
