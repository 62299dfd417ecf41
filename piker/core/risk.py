"""What is let out to a venue: limits on the worst case, and what only reduces a position.

The worst case of an order is that all orders of its side at the venue are filled, and none of the
other side. So whatever is filled of what passed, in any order, no position comes to more than its
limit; one that was over it before can only shrink.

What only reduces a position passes every limit, and a halt. It is judged by the worst case, too: it
reduces if it can't cross zero even when all others of its side are filled first.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext
from fractions import Fraction

from msgspec import Struct

from piker.accounts import Position
from piker.core.grid import highest_up_to, lowest_from
from piker.core.positions import open_profit
from piker.interfaces.orders import Halted, LimitsReply, RiskRejected
from piker.markets import Market, MarketState
from piker.orders import NOTHING, Life, Side
from piker.quotes import Kind, Tick

DEFAULTS = LimitsReply(
    # A contract of one market is a thousand times one of another: no number fits all.
    order_size=None,
    # A slip by one digit of a usual order of a few thousand ends here.
    order_notional=Decimal(50_000),
    # As the order's size: no number fits all.
    position=None,
    # Four of the largest orders: a program that only ever buys is stopped by the fourth.
    position_notional=Decimal(200_000),
    # More than a person can keep in mind; a loop that places orders gets no further.
    open_orders=200,
    # More than a person types; such a loop costs little before somebody looks.
    orders_per_s=10,
    # A tenth of the largest order: a day on which it is better to stop, not the end.
    daily_loss=Decimal(5_000),
    # Markets move so far in a day, not between a quote and an order; a wrong digit is farther.
    distance_pct=Decimal(10),
)
"""What a beginner survives. Sums are in the currency of the market."""

SECOND_NS = 1_000_000_000
NOT_KNOWN = "not known, for want of a fresh quote"
NO_PRICE = "not known: something is held of which no price was seen"

_EXACT = Context(prec=200, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Wide enough for size * price * multiplier of any order that `orderchecks` lets pass."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Prices(Struct, frozen=True, kw_only=True):
    """What a market shows that is fresh; None: it doesn't show that."""

    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    why: str = ""
    """What keeps the market from showing anything fresh, if that is known."""

    def met_by(self, side: Side) -> Decimal | None:
        """What an order of a side trades at now, or the nearest to it that is known."""
        best = (self.ask, self.bid) if side == "buy" else (self.bid, self.ask)
        return next((price for price in (*best, self.last) if price is not None), None)


class Proposal(Struct, frozen=True, kw_only=True):
    """An order as it would be let in, be sent, or be amended to."""

    side: Side
    size: Decimal
    """What may be filled of it from here on. Of an amendment: by the larger of both totals."""
    limit: Decimal | None = None
    """None: at the market."""
    trigger: Decimal | None = None
    """Of what waits for its trigger: it is judged as if the market were there."""
    reduce_only: bool = False


class Exposure(Struct, frozen=True, kw_only=True):
    """What an account has at stake, all but the order in question."""

    position: Decimal = NOTHING
    """Held in the market; negative: short."""
    working_buy: Decimal = NOTHING
    """What may be filled of the market's orders that were sent or are being sent: `at_stake`."""
    working_sell: Decimal = NOTHING
    open_orders: int = 0
    """Orders that aren't closed, in all markets, those that wait here as well."""
    recent: int = 0
    """How many passed in the last second, in all markets: `Rate`."""
    day_profit: Decimal | None = NOTHING
    """Earned since the day turned in the market's currency, in all markets, fees and what is open
    included. None: nobody can say."""

    def worst(self, side: Side) -> Decimal:
        """What the position may come to on a side; negative: it stays on the other one."""
        if side == "buy":
            return self.position + self.working_buy
        return self.working_sell - self.position


class Rate:
    """How many orders of an account passed within any second.

    One is added for each check that let an order in, out, or be amended. Times are
    CLOCK_BOOTTIME, since the wall clock may be stepped.
    """

    def __init__(self) -> None:
        self._passed_ns: deque[int] = deque()

    def add(self, now_ns: int) -> None:
        """Count one that passed."""
        self._forget(now_ns)
        self._passed_ns.append(now_ns)

    def recent(self, now_ns: int) -> int:
        """How many passed in the second that ends now."""
        self._forget(now_ns)
        return len(self._passed_ns)

    def _forget(self, now_ns: int) -> None:
        while self._passed_ns and self._passed_ns[0] <= now_ns - SECOND_NS:
            self._passed_ns.popleft()


def check(
    proposal: Proposal,
    market: Market,
    exposure: Exposure,
    limits: LimitsReply,
    prices: Prices | None,
    halted: Halted | None = None,
) -> Halted | RiskRejected | None:
    """Why an order may not pass, or None: at submit, when it is triggered, and when it is amended.

    Where `prices` has none that is fresh, what takes one to be judged is rejected. The order is one
    that `orderchecks` found nothing wrong with.
    """
    if only_reduces(proposal, exposure):
        return None
    if halted:
        return halted
    if proposal.trigger is not None:
        prices = Prices(last=proposal.trigger)
    with localcontext(_EXACT):
        return next(_excesses(proposal, market, exposure, limits, prices or Prices()), None)


def only_reduces(proposal: Proposal, exposure: Exposure) -> bool:
    """Whether an order can't but reduce the position: it passes all limits, and a halt.

    What is `reduce_only` and waits for its trigger will be capped when it leaves. When it does, it
    is no better than its size.
    """
    if proposal.reduce_only and proposal.trigger is not None:
        return True
    with localcontext(_EXACT):
        return exposure.worst(proposal.side) + proposal.size <= 0


def capped_size(side: Side, size: Decimal, exposure: Exposure) -> Decimal | None:
    """The size with which a `reduce_only` order leaves now, so that it `only_reduces`.

    None: there is nothing to reduce, and it is cancelled. 0: there is, but orders of its side at
    the venue may take it all; it can leave once they don't, as when they are cancelled.
    """
    held = -exposure.position if side == "buy" else exposure.position
    if held <= 0:
        return None
    with localcontext(_EXACT):
        return max(NOTHING, min(size, -exposure.worst(side)))


def not_reducing(side: Side, size: Decimal, fqme: str, exposure: Exposure) -> RiskRejected:
    """Why so much of a `reduce_only` order can't leave."""
    with localcontext(_EXACT):
        allowed = _reducible(side, fqme, exposure)
        return RiskRejected(limit="reduce_only", value=_say(size), allowed=allowed)


def _reducible(side: Side, fqme: str, exposure: Exposure) -> str:
    """How much of a position an order of a side may reduce, and why no more."""
    held = -exposure.position if side == "buy" else exposure.position
    if not held:
        return f"0, nothing is held of {fqme} to reduce"
    if held < 0:
        return f"0, a {side} does not reduce the {_say(exposure.position)} held of {fqme}"
    left = max(NOTHING, -exposure.worst(side))
    if left == held:
        return f"{_say(left)}, all that is held of {fqme}"
    others = f"other orders may already reduce {_say(held - left)} of the {_say(held)} held"
    return f"{_say(left)}, as {others} of {fqme}"


def at_stake(life: Life) -> Decimal:
    """What may still be filled of an order at the venue, if the worst of what is open happens."""
    if life.closed or life.state == "held":
        return NOTHING
    total = max(life.size, life.amend.size) if life.amend else life.size
    with localcontext(_EXACT):
        left = max(NOTHING, total - life.filled)
        return left * max(1, len(life.live))  # it may be there more than once


def earned(position: Position, price: Decimal | None) -> Decimal | None:
    """What a position earned in its currency, open profit at a price and fees in it included.

    A day's profit is the sum of it over an account's markets of one currency, less what that sum
    was when the day turned. None: something is open, and nobody knows the price.
    """
    paid = sum((each.paid for each in position.fees if each.currency == position.currency), NOTHING)
    if position.size == position.unpriced:
        return position.realised - paid
    return None if price is None else position.realised + open_profit(position, price) - paid


def prices_of(newest: Mapping[Kind, Tick], state: MarketState) -> Prices:
    """The newest ticks as prices; none, and why, if they aren't fresh.

    They are while the market is live: then its silence is no longer than usual, or than 5 s, and a
    price that wasn't said again still stands.
    """
    if state.state != "live":
        return Prices(why=": ".join(word for word in (state.state, state.reason) if word))
    shown = {kind: Decimal(repr(tick.price)) for kind, tick in newest.items()}
    return Prices(bid=shown.get("bid"), ask=shown.get("ask"), last=shown.get("trade"))


def day_start_ns(now_ns: int, day_ends: time, zone: tzinfo) -> int:
    """When the day of an instant began, UTC ns: the day turns at a local time of a zone.

    A local time that a clock skips is counted as if it had not been put forward yet; of one that
    comes twice, the first counts.
    """
    local = (_EPOCH + timedelta(seconds=now_ns // SECOND_NS)).astimezone(zone)
    today = _utc_ns(datetime.combine(local.date(), day_ends, zone))
    if today <= now_ns:
        return today
    return _utc_ns(datetime.combine(local.date() - timedelta(days=1), day_ends, zone))


def _utc_ns(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(seconds=1) * SECOND_NS


def _excesses(
    proposal: Proposal, market: Market, exposure: Exposure, limits: LimitsReply, prices: Prices
) -> Iterator[RiskRejected]:
    """Each limit that would be exceeded."""
    worst = exposure.worst(proposal.side) + proposal.size
    here = prices.met_by(proposal.side)
    yield from _over("order_size", proposal.size, limits.order_size)
    yield from _over("position", worst, limits.position)
    yield from _over("open_orders", exposure.open_orders + 1, limits.open_orders)
    yield from _over("orders_per_s", exposure.recent + 1, limits.orders_per_s)
    yield from _lost(exposure.day_profit, market, limits.daily_loss)
    if here is None:
        yield from _not_known(proposal, market, limits, prices.why)
        return
    yield from _too_far(proposal, market, here, limits.distance_pct)
    price = _dearest(proposal, here)
    yield from _worth("order_notional", proposal.size, price, market, limits.order_notional)
    dearest = max(price, abs(here))
    yield from _worth("position_notional", worst, dearest, market, limits.position_notional)


def _not_known(
    proposal: Proposal, market: Market, limits: LimitsReply, why: str
) -> Iterator[RiskRejected]:
    """Each limit that takes a quote to be judged."""
    value = f"{NOT_KNOWN}: {why or 'wait for one'}"
    if limits.distance_pct is not None and proposal.limit is not None:
        allowed = f"{_say(limits.distance_pct)} %"
        yield RiskRejected(limit="distance_pct", value=value, allowed=allowed)
    notionals = {
        "order_notional": limits.order_notional,
        "position_notional": limits.position_notional,
    }
    for limit, most in notionals.items():
        if most is not None:
            yield RiskRejected(limit=limit, value=value, allowed=_money(most, market))


def _dearest(proposal: Proposal, here: Decimal) -> Decimal:
    """The farthest from 0 that an order can be filled at from here."""
    if proposal.limit is None:
        return abs(here)
    better = min if proposal.side == "buy" else max
    return max(abs(proposal.limit), abs(better(proposal.limit, here)))


def _over(limit: str, value: Decimal | int, most: Decimal | int | None) -> Iterator[RiskRejected]:
    if most is not None and value > most:
        yield RiskRejected(limit=limit, value=_say(value), allowed=_say(most))


def _lost(profit: Decimal | None, market: Market, most: Decimal | None) -> Iterator[RiskRejected]:
    """What was lost since the day turned."""
    if most is None or (profit is not None and -profit <= most):
        return
    said = NO_PRICE if profit is None else _money(-profit, market)
    yield RiskRejected(limit="daily_loss", value=said, allowed=_money(most, market))


def _worth(
    limit: str, size: Decimal, price: Decimal, market: Market, most: Decimal | None
) -> Iterator[RiskRejected]:
    """What a size is worth at the dearest price that comes into question."""
    if most is not None and size * price * market.multiplier > most:
        times = "" if market.multiplier == 1 else f", times {_say(market.multiplier)}"
        how = f"({_say(size)} at {_say(price)}{times})"
        worth = _money(size * price * market.multiplier, market)
        yield RiskRejected(limit=limit, value=f"{worth} {how}", allowed=_money(most, market))


def _too_far(
    proposal: Proposal, market: Market, here: Decimal, most: Decimal | None
) -> Iterator[RiskRejected]:
    """A limit on the side of the market that costs: a buy's above it, a sell's below."""
    if most is None or proposal.limit is None:
        return
    buys = proposal.side == "buy"
    beyond = proposal.limit - here if buys else here - proposal.limit
    if beyond * 100 > most * abs(here):
        said = f"{_say(proposal.limit)} against a quote of {_say(here)}"
        quote, far = Fraction(here), Fraction(most) * Fraction(abs(here)) / 100
        if buys:
            edge = f"at most {_say(highest_up_to(market, quote + far))}"
        else:
            edge = f"at least {_say(lowest_from(market, quote - far))}"
        allowed = f"{_say(most)} %, {edge}"
        yield RiskRejected(limit="distance_pct", value=said, allowed=allowed)


def _money(value: Decimal, market: Market) -> str:
    return f"{_say(value)} {market.currency}"


def _say(value: Decimal | int) -> str:
    return f"{Decimal(value).normalize():f}"
