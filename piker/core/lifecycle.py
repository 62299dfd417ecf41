"""The life of an order: a table of state and step to state, and what its events add up to.

`begin` makes a life, `apply` takes one event of either side, whether it happens or is read back
from a journal: start and recovery are the same sum. What the venue says is taken in any order, any
number of times, at any time; what we do must be possible, and `why_not` says beforehand.

Nothing leads back to `held`, and only what is held is sent: an order is sent once.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec.structs import replace

from piker.core.reasons import reason
from piker.orders import (
    CLOSED,
    NOTHING,
    Absent,
    Acked,
    AmendAcked,
    AmendAsked,
    AmendRefused,
    Armed,
    CancelAsked,
    CancelAtVenue,
    Cancelled,
    CancelRefused,
    Consequence,
    Corrected,
    Doubled,
    Execution,
    Expired,
    Filled,
    Held,
    LateFill,
    Life,
    LinkLost,
    Listed,
    OrderEvent,
    OrderState,
    PendingAmend,
    PendingCancel,
    Refused,
    Resolved,
    Sending,
    Silence,
    Submitted,
    Triggered,
    VenueEvent,
    VenueExpired,
)


def _row(target: OrderState, *steps: str) -> dict[str, OrderState]:
    return dict.fromkeys(steps, target)


def _closed(state: OrderState) -> dict[str, OrderState]:
    """What is closed stays closed; once all of it was done after all, it is filled."""
    venue = ("Acked", "Listed", "Filled", "Refused", "Cancelled", "VenueExpired", "One ended")
    asked = ("AmendAcked", "AmendRefused", "CancelRefused")
    sought = ("Absent", "Absent too soon", "Out of sight")
    return _row(state, *venue, *asked, *sought, "Silence", "LinkLost") | _row("filled", "Whole")


TABLE: dict[OrderState, dict[str, OrderState]] = {
    "held": {
        **_row("held", "Held", "Armed", "Triggered", "AmendAsked", "Silence", "LinkLost"),
        **_row("held", "Absent", "Absent too soon", "Out of sight"),
        **_row("held", "AmendRefused", "CancelRefused"),
        **_row("sending", "Sending"),
        **_row("open", "Acked", "Listed", "Filled", "AmendAcked"),
        **_row("filled", "Whole", "Alerted"),
        **_row("cancelled", "CancelAsked", "Cancelled"),
        **_row("rejected", "Refused"),
        **_row("expired", "Expired", "VenueExpired"),
    },
    "sending": {
        **_row("sending", "CancelAsked", "Expired", "AmendRefused", "CancelRefused"),
        **_row("sending", "Absent", "Absent too soon", "Out of sight"),
        **_row("unknown", "Silence", "LinkLost"),
        **_row("open", "Acked", "Listed", "Filled", "AmendAcked"),
        **_row("filled", "Whole"),
        **_row("cancelled", "Cancelled"),
        **_row("rejected", "Refused"),
        **_row("expired", "VenueExpired"),
    },
    "open": {
        **_row("open", "Acked", "Listed", "Filled", "AmendAcked", "One ended"),
        **_row("open", "AmendAsked", "CancelAsked", "Expired", "AmendRefused", "CancelRefused"),
        **_row("open", "Silence", "LinkLost", "Absent too soon", "Resolved open"),
        **_row("unknown", "Out of sight"),
        **_row("filled", "Whole", "Resolved filled"),
        **_row("cancelled", "Cancelled", "Absent", "Resolved cancelled"),
        **_row("rejected", "Refused", "Resolved rejected"),
        **_row("expired", "VenueExpired"),
    },
    "unknown": {
        **_row("unknown", "CancelAsked", "Expired", "AmendRefused", "CancelRefused"),
        **_row("unknown", "Silence", "LinkLost", "Absent too soon", "Out of sight", "One ended"),
        **_row("open", "Acked", "Listed", "Filled", "AmendAcked", "Resolved open"),
        **_row("filled", "Whole", "Resolved filled"),
        **_row("cancelled", "Cancelled", "Resolved cancelled"),
        **_row("rejected", "Refused", "Absent", "Resolved rejected"),
        **_row("expired", "VenueExpired"),
    },
    "filled": _closed("filled"),
    "cancelled": _closed("cancelled"),
    "rejected": _closed("rejected"),
    "expired": _closed("expired"),
}
"""All that can happen. A step of ours that a state doesn't have is not possible in it."""

_AMENDABLE = "only what is held or open can be amended"
_RESOLVABLE = "only what is UNKNOWN can be resolved"


class NotNow(Exception):
    """A step of ours that is not possible. Ask `why_not` first."""


def begin(event: Submitted) -> Life:
    """The life of an order that was just admitted: held, until it is sent."""
    order = event.order
    return Life(order=order, size=order.size, limit=order.limit, trigger=order.trigger)


def replay(events: Iterable[OrderEvent]) -> Life:
    """The life that these events of one order add up to, the first being Submitted."""
    first, *rest = events
    if not isinstance(first, Submitted):
        raise NotNow(f"expected Submitted at first, was {first}")
    life = begin(first)
    for event in rest:
        life, _ = apply(life, event)
    return life


def apply(life: Life, event: OrderEvent) -> tuple[Life, tuple[Consequence, ...]]:
    """The life after an event, and what is to be announced and done because of it.

    Raises NotNow for a step of ours that `why_not` objects to.
    """
    objection = why_not(life, event)
    if objection:
        raise NotNow(objection)
    taken = _take(life, event)
    after = _enter(taken, TABLE[life.state][step(taken, event)])
    why = reason(life, after, event, cancels=life.closed and _must_cancel(life, after, event))
    after = after if why == after.reason else replace(after, reason=why)
    return after, tuple(_consequences(life, after, event))


def why_not(life: Life, event: OrderEvent) -> str | None:
    """Why this can't happen now, or None. What the venue says always can."""
    if isinstance(event, VenueEvent):
        return None
    name = step(life, event)
    states = [state for state, row in TABLE.items() if name in row]
    if life.state not in states:
        return _why_not_in(life, event, states)
    match event:
        case AmendAsked():
            return _why_no_amend(life, event)
        case Sending():
            return _why_not_sent(life, event)
        case Triggered() if life.triggered:
            return f"expected an armed order, was triggered at {life.triggered.price}"
        case Resolved() if life.state == "open" and not _doubtful(life):
            return f"nothing of it is in doubt: {_RESOLVABLE}, this one is open"
    return None


def _why_not_in(life: Life, event: OrderEvent, states: Iterable[OrderState]) -> str:
    """Why what a state doesn't have can't be, in it: what people ask for, in words for people."""
    if life.closed:
        return f"it is over: {life.state}"
    match event:
        case AmendAsked():
            return f"{_AMENDABLE}, this one is {life.state}; it can be cancelled"
        case Resolved():
            return f"{_RESOLVABLE}, this one is {life.state}"
    return f"expected one that is {' or '.join(states)}, was {life.state}"


def _why_no_amend(life: Life, event: AmendAsked) -> str | None:
    if life.amend:
        return f"amendment {life.amend.n} of it is not answered yet: wait for that, or cancel it"
    if life.cancel:
        return "it is being cancelled"
    if event.n != life.amends + 1:
        return f"expected amendment {life.amends + 1}, was {event.n}"
    if event.size <= life.filled and life.order.kind != "alert":
        done = f"{life.filled:f} of it are filled"
        return f"{done}: the new total must be more, was {event.size:f}; to end it there, cancel it"
    if event.trigger is not None and life.state != "held":
        return f"only what is held waits for a trigger, this one is {life.state}"
    return None


def _why_not_sent(life: Life, event: Sending) -> str | None:
    if life.order.kind == "alert":
        return "expected an order, was an alert"
    if not 0 < event.size <= life.size:
        return f"expected a size of more than 0, at most {life.size}, was {event.size}"
    return None


def _doubtful(life: Life) -> bool:
    return any(pending and pending.unknown for pending in (life.amend, life.cancel))


def step(life: Life, event: OrderEvent) -> str:
    """The event's name in the table, for a life that has taken what it says."""
    match event:
        case Triggered() if life.order.kind == "alert":
            return "Alerted"
        case Absent() if life.not_after_ns >= event.asked_ns:
            return "Absent too soon"
        case Absent(proves=False):
            return "Out of sight"
        case Resolved():
            settled = life.whole and life.state == "open"
            return "Whole" if settled else f"Resolved {event.outcome}"
        case _ if life.whole and isinstance(event, VenueEvent):
            return "Whole"
        case Cancelled() | VenueExpired() if life.live:
            return "One ended"
        case Cancelled() if life.cancel and life.cancel.ends == "expired":
            return "VenueExpired"
    return type(event).__name__


def _proves(life: Life, event: Absent) -> bool:
    """Whether it isn't there: nothing of it can have been on its way when the venue was asked."""
    return event.proves and life.not_after_ns < event.asked_ns


def _take(life: Life, event: OrderEvent) -> Life:
    """The life with what an event says; its state comes later."""
    match event:
        case Armed():
            return _with_arms(life, event)
        case Held():
            return replace(life, armed=False)
        case Triggered():
            return replace(life, armed=False, triggered=event)
        case Sending(size=size, limit=limit, not_after_ns=not_after_ns):
            return replace(life, size=size, limit=limit, not_after_ns=not_after_ns)
        case AmendAsked():
            return _with_amend(life, event)
        case CancelAsked():
            return _with_cancel(life, "cancelled")
        case Expired():
            return _with_cancel(life, "expired")
        case Silence() | LinkLost():
            return _in_doubt(life)
        case Resolved():
            return _without_doubt(life)
    return _take_word(life, event)


def _take_word(life: Life, event: OrderEvent) -> Life:
    """The life with what the venue says."""
    match event:
        case Acked():
            return _with_id(life, event.venue_id)
        case Listed():
            return _with_listed(_with_id(life, event.venue_id), event)
        case Filled(execution=execution):
            return _as_done_shows(_with_execution(_with_id(life, execution.venue_id), execution))
        case Cancelled() | VenueExpired():
            return _without_id(life, event.venue_id)
        case Refused():
            return _without_id(life, "")
        case Absent() if _proves(life, event):
            return _without_id(life, "")
        case AmendAcked():
            return _amended(life, event)
        case AmendRefused() if life.amend and life.amend.n == event.n:
            return replace(life, amend=None)
        case CancelRefused() if life.state == "open":
            return replace(life, cancel=None)  # else the venue didn't know yet what to cancel
    return life


def _enter(life: Life, state: OrderState) -> Life:
    if state in CLOSED:
        return replace(life, state=state, armed=False, amend=None, cancel=None)
    return replace(life, state=state)


def _with_arms(life: Life, event: Armed) -> Life:
    return replace(life, armed=True, when=event.when, armed_ns=event.since_ns, triggered=None)


def _with_amend(life: Life, event: AmendAsked) -> Life:
    """What is held is only ours to amend; else the venue is asked."""
    size, limit = event.size, event.limit
    if life.state == "held":
        trigger = life.trigger if event.trigger is None else event.trigger
        now = replace(life, size=size, limit=limit, trigger=trigger)
        return replace(now, amends=event.n, amended=event.n)
    amend = PendingAmend(n=event.n, size=size, limit=limit, not_after_ns=event.not_after_ns)
    return replace(life, amends=event.n, amend=amend)


def _with_cancel(life: Life, ends: Literal["cancelled", "expired"]) -> Life:
    """The first reason counts; asking again takes the doubt away, since it is sent again."""
    return replace(life, cancel=PendingCancel(ends=life.cancel.ends if life.cancel else ends))


def _in_doubt(life: Life) -> Life:
    amend = replace(life.amend, unknown=True) if life.amend else None
    cancel = replace(life.cancel, unknown=True) if life.cancel else None
    return replace(life, amend=amend, cancel=cancel)


def _without_doubt(life: Life) -> Life:
    """The owner's word ends what is in doubt, and only that."""
    amend = None if life.amend and life.amend.unknown else life.amend
    cancel = None if life.cancel and life.cancel.unknown else life.cancel
    return replace(life, amend=amend, cancel=cancel)


def _with_id(life: Life, venue_id: str) -> Life:
    if not venue_id or venue_id in life.venue_ids:
        return life
    return replace(life, venue_ids=(*life.venue_ids, venue_id))


def _without_id(life: Life, venue_id: str) -> Life:
    """One ended, or all. With the last one the amendment ends, too."""
    life = _with_id(life, venue_id)
    ended = (venue_id,) if venue_id else life.venue_ids
    gone = life.gone + tuple(each for each in ended if each not in life.gone)
    life = replace(life, gone=gone)
    return life if life.live else replace(life, amend=None)


def _with_listed(life: Life, event: Listed) -> Life:
    """What the list says about an amendment: in effect, or lost if it can no longer arrive."""
    amend = life.amend
    if not amend:
        return life
    if (event.size, event.limit) == (amend.size, amend.limit):
        return _amended(life, AmendAcked(n=amend.n, size=event.size, limit=event.limit))
    lost = amend.unknown and amend.not_after_ns < event.asked_ns
    return replace(life, amend=None) if lost else life


def _amended(life: Life, event: AmendAcked) -> Life:
    """The newest amendment that the venue took counts, whichever it tells last."""
    life = _with_id(life, event.venue_id)
    if event.n <= life.amended:
        return life
    replaced = tuple(each for each in life.live if event.venue_id not in ("", each))
    return replace(
        life,
        size=event.size,
        limit=event.limit,
        amended=event.n,
        amend=life.amend if life.amend and life.amend.n > event.n else None,
        gone=life.gone + replaced,
    )


def _with_execution(life: Life, new: Execution) -> Life:
    """Each execution counts once, by its newest revision. Nearly always it is the newest of all."""
    old = _execution(life, new.exec_id)
    if old and old.revision >= new.revision:
        return life
    if not old:
        life = replace(life, late=life.late + life.closed)
        if not life.executions or _age(life.executions[-1]) < _age(new):
            return _with_done(life, [new])
    kept = [each for each in life.executions if each is not old]
    none = replace(life, executions=(), filled=NOTHING, value=NOTHING)
    return _with_done(none, sorted([*kept, new], key=_age))


def _as_done_shows(life: Life) -> Life:
    """More was done than the total: only the amendment under way allows that, so it took effect."""
    amend = life.amend
    if not amend or not life.size < life.filled <= amend.size:
        return life
    return _amended(life, AmendAcked(n=amend.n, size=amend.size, limit=amend.limit))


def _with_done(life: Life, more: list[Execution]) -> Life:
    """The life with executions after all that it has, the oldest first."""
    filled = sum((each.size for each in more), life.filled)
    value = sum((each.size * each.price for each in more), life.value)
    return replace(
        life,
        executions=(*life.executions, *more),
        filled=filled,
        value=value,
        average_price=value / filled if filled else None,
    )


def _age(execution: Execution) -> tuple[int, str]:
    return execution.time_ns, execution.exec_id


def _execution(life: Life, exec_id: str) -> Execution | None:
    return next((each for each in life.executions if each.exec_id == exec_id), None)


def _consequences(before: Life, after: Life, event: OrderEvent) -> Iterator[Consequence]:
    if isinstance(event, Filled) and after.executions is not before.executions:
        yield from _news_of(before, after, event.execution)
    if len(after.live) > max(1, len(before.live)):
        yield Doubled(venue_ids=after.live)
    if _must_cancel(before, after, event):
        yield CancelAtVenue(oid=after.order.oid, venue_ids=after.venue_ids)


def _news_of(before: Life, after: Life, execution: Execution) -> Iterator[Consequence]:
    if len(after.executions) > len(before.executions):
        if before.closed:
            yield LateFill(execution=execution)
    elif old := _execution(before, execution.exec_id):
        yield Corrected(before=old, after=execution)


def _must_cancel(before: Life, after: Life, event: OrderEvent) -> bool:
    """Whether it may be live at the venue, now that we know so, and isn't wanted there."""
    if not (after.closed or after.cancel):
        return False
    match event:
        case CancelAsked() | Expired():
            return before.state != "held"
        case Resolved() | Listed():
            return True
        case AmendAcked() if after.amended > before.amended and not after.whole:
            return True
    if after.whole and after.closed:
        return len(after.live) > 1 and (after.live != before.live or not before.closed)
    return not set(after.live) <= set(before.live)
