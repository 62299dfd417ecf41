"""Why an order is as it is, in words: of each event what it says of that, and what it leaves true.

Words stand as long as they are so: until it is sent, until a doubt is over, until it is closed. The
words of a cancel that is asked for, or their absence, take the place of all others.
What is told of a closed order later may show that it was not as it was taken for.
"""

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
    Expired,
    Filled,
    Held,
    Life,
    LinkLost,
    Listed,
    OrderEvent,
    Refused,
    Resolved,
    Silence,
    VenueExpired,
)

NOT_FOUND = "not found at the venue"
NOT_LISTED = "in no list of the venue, which proves nothing there"
SILENT = "no answer for too long"
BROKEN = "the way to the venue broke"
TIME_OVER = "its time is over"


def reason(before: Life, after: Life, event: OrderEvent, *, cancels: bool) -> str:
    """Why an order is as it is after an event. `cancels`: the event has it cancelled there."""
    if before.closed:
        return _late(before, after, cancels=cancels)
    if after.state == "filled":
        told = isinstance(event, Resolved) and event.outcome == "filled"
        return _words(before, after, event) if told else ""
    if _says_nothing(before, after, event):
        return before.reason
    return _words(before, after, event)


def _late(before: Life, after: Life, *, cancels: bool) -> str:
    """What was closed stays so, but for what was filled after all."""
    if after.state != before.state:
        return f"filled after it was taken for {before.state}"
    if after.state == "filled":
        return before.reason
    if after.late > before.late:
        return f"a fill came after it was {before.state}"
    if cancels:
        return f"at the venue after it was taken for {before.state}; a cancel was sent"
    return before.reason


def _says_nothing(before: Life, after: Life, event: OrderEvent) -> bool:
    """Whether what was said stays as true as it was."""
    match event:
        case AmendAsked():
            return before.state == "held"
        case Silence() | LinkLost():
            return _doubts(after) == _doubts(before)
        case Absent():
            return after.state == before.state
        case VenueExpired():
            return not after.closed
        case Cancelled():
            return not after.closed or (not event.reason and _was_asked_for(before))
        case AmendRefused():
            return before.amend == after.amend or before.cancel is not None
        case CancelRefused():
            return before.cancel == after.cancel
        case Acked() | Listed() | Filled() | AmendAcked():
            return bool(after.cancel) or _goes_on(before, after, event)
    return False


def _goes_on(before: Life, after: Life, event: OrderEvent) -> bool:
    """Whether it was open before, and no doubt has ended, nor an amendment come into effect."""
    took_effect = isinstance(event, AmendAcked) and after.amended != before.amended
    return before.state == after.state and _doubts(after) == _doubts(before) and not took_effect


def _was_asked_for(life: Life) -> bool:
    """Whether the words that stand are those of a cancel, and not of a doubt about it."""
    return bool(life.cancel and not life.cancel.unknown)


def _doubts(life: Life) -> tuple[bool, bool, bool]:
    """What of it is not known."""
    amend, cancel = life.amend, life.cancel
    return life.state == "unknown", bool(amend and amend.unknown), bool(cancel and cancel.unknown)


def _words(before: Life, after: Life, event: OrderEvent) -> str:
    """The event's own words, or none."""
    match event:
        case Held() | Armed() | CancelAsked() | Refused() | Cancelled():
            return event.reason
        case Resolved(note=note):
            return note
        case AmendRefused(n=n, reason=words):
            return f"amend {n} refused: {words}"
        case CancelRefused(reason=words):
            return f"cancel refused: {words}"
        case Silence():
            return SILENT
        case LinkLost(reason=words):
            return words or BROKEN
        case Expired() | VenueExpired():
            return TIME_OVER
        case Absent(proves=proves):
            return NOT_FOUND if proves else NOT_LISTED
    return ""
