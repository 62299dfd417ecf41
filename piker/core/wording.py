"""Orders, and what happens to them, in words for people."""

from decimal import Context, Decimal

from piker.accounts import PAPER
from piker.core.lifecycle import begin
from piker.core.reasons import BROKEN, NOT_FOUND, NOT_LISTED, SILENT, TIME_OVER
from piker.orders import (
    Absent,
    Acked,
    AmendAcked,
    AmendAsked,
    AmendRefused,
    Armed,
    CancelAsked,
    Cancelled,
    CancelRefused,
    Execution,
    Expired,
    Filled,
    Held,
    Life,
    LinkLost,
    Listed,
    OrderEvent,
    Refused,
    Resolved,
    Sending,
    Silence,
    Submitted,
    Triggered,
    VenueExpired,
)

DIGITS = 10
"""Significant digits of an average or a profit, shown to people."""


def number(value: Decimal | None) -> str:
    """A number in its own digits, never with an exponent; nothing if there is none."""
    return "" if value is None else f"{value:f}"


def rounded(value: Decimal | None, digits: int = DIGITS) -> str:
    """An average or a profit, which may have 28 digits, in ten at most."""
    if value is None:
        return ""
    shown = f"{Context(prec=digits).plus(value):f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def money(account: str, live: bool | None) -> str:
    """Whether an account is paper or live. Live as far as anybody knows is not paper."""
    if account == PAPER or account.startswith(f"{PAPER}."):
        return "paper"
    return {True: "LIVE", False: "simulated", None: "LIVE?"}[live]


def asked(life: Life) -> str:
    """What is wanted, as it was last amended: "buy 1000 eurusd.spot.replay, limit 1.20"."""
    order = life.order
    if order.kind == "alert":
        return f"alert {order.market} {_trigger(life)}"
    words = [f"{order.side} {number(life.size)} {order.market}"]
    if order.kind == "dark":
        words.append(f"dark {_trigger(life)}")
    words.append(_price(life))
    if order.tif != "gtc":
        words.append(order.tif)
    if order.reduce_only:
        words.append(f"{_cut(life)}reduce only")
    return ", ".join(filter(None, words))


def _cut(life: Life) -> str:
    """What was sent of a total that its owner didn't amend."""
    if life.amends or life.size >= life.order.size:
        return ""
    return f"only {number(life.size)} of {number(life.order.size)}: "


def _trigger(life: Life) -> str:
    when = life.when or life.order.when
    return " ".join(filter(None, [when, number(life.trigger)]))


def _price(life: Life) -> str:
    if life.limit is not None:
        return f"limit {number(life.limit)}"
    slips = life.order.kind == "dark" and life.order.sends == "limit"
    return "" if slips else "at the market"


def standing(life: Life) -> str:
    """The state, and what is under way beside it: "open, amend 2 pending"."""
    return ", ".join([_state(life), *_pending(life)])


def _state(life: Life) -> str:
    if life.state == "unknown":
        return "UNKNOWN"
    if life.state != "held":
        return life.state
    if life.triggered:
        return "held, triggered"
    return "armed" if life.armed else "held"


def _pending(life: Life) -> list[str]:
    amend = life.amend and (
        f"amend {life.amend.n} to {number(life.amend.size)} {_at(life.amend.limit)} "
        f"{_doubt(life.amend.unknown)}"
    )
    cancel = life.cancel and f"cancel {_doubt(life.cancel.unknown)}"
    return [each for each in (amend, cancel) if each]


def _doubt(unknown: bool) -> str:
    return "UNKNOWN" if unknown else "pending"


def remedy(life: Life) -> str:
    """What its owner can do about an outcome that is not known; nothing for others."""
    doubts = any(each and each.unknown for each in (life.amend, life.cancel))
    if life.state != "unknown" and not doubts:
        return ""
    what = "it was sent" if life.state == "unknown" else "a change was sent"
    oid = life.order.oid
    return (
        f"{what}, its outcome is not known: look at the venue, "
        f"then piker resolve {oid} open|filled|cancelled|rejected --note TEXT; "
        f"piker cancel {oid} is always possible"
    )


def told(event: OrderEvent) -> str:
    """What happened, in a line."""
    match event:
        case Submitted(order=order):
            gap = f", on_gap {order.on_gap}" if order.trigger is not None else ""
            return f"submitted: {asked(begin(event))}{gap}"
        case Held(reason=reason):
            return _with("held", reason)
        case Armed(when=when, reason=reason):
            return _with(f"armed, fires {when}", reason)
        case Triggered(price=price):
            return f"triggered at {number(price)}"
        case Sending(size=size, limit=limit):
            return f"sending {number(size)} {_at(limit)}"
        case Silence():
            return SILENT
        case LinkLost(reason=reason):
            return _with(BROKEN, reason)
        case AmendAsked():
            return f"amend {event.n} asked: {_terms(event)}"
        case CancelAsked(reason=reason):
            return _with("cancel asked", reason)
        case Expired():
            return TIME_OVER
        case Resolved(outcome=outcome, note=note):
            return _with(f"resolved as {outcome} by its owner", note)
    return _told_by_venue(event)


def _told_by_venue(event: OrderEvent) -> str:
    match event:
        case Acked(venue_id=venue_id):
            return f"the venue took it as {venue_id}"
        case Refused(reason=reason):
            return _with("refused", reason)
        case Filled(execution=execution):
            return _filled(execution)
        case Cancelled(reason=reason):
            return _with("the venue cancelled it", reason)
        case VenueExpired():
            return f"the venue ended it, {TIME_OVER}"
        case AmendAcked(n=n, size=size, limit=limit):
            return f"amend {n} took effect: {number(size)} {_at(limit)}"
        case AmendRefused(n=n, reason=reason):
            return _with(f"amend {n} refused", reason)
        case CancelRefused(reason=reason):
            return _with("cancel refused", reason)
        case Listed(venue_id=venue_id):
            return f"found open at the venue as {venue_id}"
        case Absent(proves=proves):
            return NOT_FOUND if proves else NOT_LISTED
    raise AssertionError(f"expected an event of an order, was {event}")


def _filled(execution: Execution) -> str:
    kind = f"corrected (revision {execution.revision}): " if execution.revision > 0 else ""
    fee = f", fee {number(execution.fee)} {execution.fee_currency}" if execution.fee else ""
    derived = ", on a derived price" if execution.derived else ""
    return f"{kind}filled {number(execution.size)} at {number(execution.price)}{fee}{derived}"


def _terms(event: AmendAsked) -> str:
    trigger = "" if event.trigger is None else f", trigger {number(event.trigger)}"
    return f"{number(event.size)} {_at(event.limit)}{trigger}"


def _at(limit: Decimal | None) -> str:
    return "at the market" if limit is None else f"at {number(limit)}"


def _with(words: str, reason: str) -> str:
    return f"{words}: {reason}" if reason else words
