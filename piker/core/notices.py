"""What a person is told of, and in which words. What is past when it begins is not told."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from piker.accounts import AccountState
from piker.core.mirror import Change, history
from piker.core.wording import asked, money, number, remedy, rounded, told
from piker.interfaces.orders import AccountsReply, OrderNews
from piker.interfaces.service import Component
from piker.orders import ALL_CANCELLED, AmendRefused, CancelAsked, CancelRefused, Filled, Held, Life

Urgency = Literal["low", "normal", "critical"]

PATIENCE_S = 10.0
"""What is away for less than this is not worth telling: a daemon may have been restarted."""
RECENT_NS = 30_000_000_000
"""What was recorded so shortly before somebody began to listen is news to them, too: emsd, started
at the same time, may have been quicker."""
BY_ITS_OWNER = frozenset({"", ALL_CANCELLED})
"""Reasons of cancels that a person asked for, as emsd records them."""
DEAD = frozenset({"delayed", "stale", "disconnected"})
ALIVE = frozenset({"live", "closed"})


@dataclass(frozen=True)
class Notice:
    """Something to tell a person."""

    title: str
    text: str
    urgency: Urgency = "normal"


def recent(timelines: Iterable[Iterable[OrderNews]], since_ns: int, last_seq: int) -> list[Change]:
    """What happened to orders from a time on, up to an event, from the whole life of each."""
    found = {
        change.news.seq: change
        for timeline in timelines
        for change in history(timeline)
        if change.news and change.news.time_ns >= since_ns and change.news.seq <= last_seq
    }
    return [found[seq] for seq in sorted(found)]


def of_order(change: Change, live: bool | None) -> Notice | None:
    """What to tell of an order's change, the gravest first; None: nothing."""
    before, life = change.before, change.life
    if before is None:
        return _of_stranger(change, live)
    found = _danger(before, life) or _progress(change, before) or _setback(change)
    if not found:
        return None
    title, detail, urgency = found
    if life.order.kind == "alert" and life.state == "filled":
        return Notice(title, detail, urgency)
    return Notice(title, _text(life, live, detail), urgency)


_Found = tuple[str, str, Urgency] | None


def _of_stranger(change: Change, live: bool | None) -> Notice | None:
    """Of an order that is older than what is kept, only a late fill is worth telling."""
    late = change.news and isinstance(change.news.event, Filled) and change.life.late
    if not late:
        return None
    return Notice("Late fill", _text(change.life, live, _done(change.life)), "critical")


def _danger(before: Life, life: Life) -> _Found:
    if life.late > before.late:
        return "Late fill", f"filled after it was {before.state}, {_done(life)}", "critical"
    if len(life.live) > max(1, len(before.live)):
        return "Order is doubled", f"at the venue as {', '.join(life.live)}", "critical"
    if life.state == "unknown" and before.state != "unknown":
        return "Outcome unknown", remedy(life), "critical"
    if remedy(life) and not remedy(before):
        return "Change unknown", remedy(life), "critical"
    return None


def _progress(change: Change, before: Life) -> _Found:
    life = change.life
    if life.order.kind == "alert" and life.state == "filled" and before.state != "filled":
        return "ALERT", _crossed(life), "critical"
    if _corrected(change, before):
        return "Fill corrected", _done(life), "critical"
    if life.state == "filled" and before.state != "filled":
        return "Filled", _done(life), "normal"
    if life.filled > 0 and not before.filled:
        return "Partly filled", _done(life), "normal"
    if life.triggered and not before.triggered:
        return "Triggered", _fired(life), "low"
    return None


def _corrected(change: Change, before: Life) -> bool:
    """Whether what was done is not what it was; of what changed unseen, as far as sums say it."""
    life, event = change.life, change.news.event if change.news else None
    if isinstance(event, Filled) and event.execution.revision > 0:
        return (life.filled, life.value) != (before.filled, before.value)
    return life.filled < before.filled or (
        life.filled == before.filled and life.value != before.value
    )


def _setback(change: Change) -> _Found:
    before, life = change.before, change.life
    assert before is not None
    event = change.news.event if change.news else None
    if isinstance(event, CancelAsked):
        return None if event.reason in BY_ITS_OWNER else ("Cancelled", event.reason, "normal")
    if life.state != before.state and life.state == "rejected":
        return "Rejected", life.reason, "critical" if life.triggered else "normal"
    if life.state != before.state and life.state == "expired":
        return "Expired", life.reason, "normal"
    if life.state != before.state and life.state == "cancelled" and not before.cancel:
        return "Cancelled", life.reason, "normal"
    if isinstance(event, Held):
        return "Held", event.reason, "normal"
    if isinstance(event, AmendRefused | CancelRefused):
        return "Change refused", told(event), "normal"
    return None


def _text(life: Life, live: bool | None, detail: str) -> str:
    account = f"{life.order.account} ({money(life.order.account, live)})"
    return f"{account}: {asked(life)}" + (f"\n{detail}" if detail else "")


def _done(life: Life) -> str:
    price = f" at {rounded(life.average_price)}" if life.average_price is not None else ""
    return f"{number(life.filled)} of {number(life.size)}{price}"


def _fired(life: Life) -> str:
    """The tick that fired it."""
    return told(life.triggered) if life.triggered else ""


def _crossed(life: Life) -> str:
    """What an alert waited for; it is about a market, whatever account it names."""
    what = f"{life.order.market} crossed {number(life.trigger)}"
    return f"{what}: {number(life.triggered.price)}" if life.triggered else what


def of_accounts(before: AccountsReply | None, after: AccountsReply) -> Iterator[Notice]:
    """What to tell of a halt, which is told also if it is there at the start, and of positions."""
    if before is None or after.halted != before.halted:
        yield from _of_halt(None if before is None else before.halted, after.halted)
    known = {each.account: each for each in (after if before is None else before).accounts}
    for account in after.accounts:
        was = known.get(account.account)
        new = set(account.unexplained) - set(was.unexplained if was else ())
        for market in sorted(new):
            yield _of_unexplained(account, market)


def _of_halt(before: str | None, after: str | None) -> Iterator[Notice]:
    if after is not None:
        yield Notice("Halted", f"No new order leaves: {after}", "critical")
    elif before is not None:
        yield Notice("No longer halted", "New orders leave again")


def _of_unexplained(account: AccountState, market: str) -> Notice:
    how = f"piker accept {account.account} {market} --note TEXT"
    return Notice(
        f"{_name(account)}: position in {market} is unexplained",
        f"Only reducing orders leave until you look at it, then {how}",
        "critical",
    )


def _name(account: AccountState) -> str:
    return f"{account.account} ({money(account.account, account.live)})"


def of_refusal(problem: str) -> Notice:
    """What to tell when emsd answers that it can't do its work."""
    detail = "Nothing is sent, and nothing dark fires"
    return Notice("emsd can't work", f"{problem}\n{detail}", "critical")


class Outages:
    """Tells once what is away for a while and has orders, and once that it is back.

    What is away is a market, as its data are dead, or an account; each by its name.
    """

    def __init__(self) -> None:
        self._away: dict[str, tuple[float, Notice]] = {}
        """Since when, and what to tell of it."""
        self._told: set[str] = set()
        self._markets: set[str] = set()

    def take_data(self, components: Iterable[Component], now_s: float) -> Iterator[Notice]:
        """How emsd finds its parts now: those that are markets count, and all of them are there."""
        markets = [each for each in components if each.state in DEAD | ALIVE]
        listed = {each.name for each in markets}
        for name in self._markets - listed:
            self._away.pop(name, None)
        self._markets = listed
        for market in markets:
            yield from self._take_market(market, now_s)

    def _take_market(self, data: Component, now_s: float) -> Iterator[Notice]:
        if data.state in DEAD:
            how = f"{data.state}: {data.detail}" if data.detail else data.state
            text = f"{how}\nIts dark orders and alerts don't fire until it is live again"
            self._leave(data.name, Notice(f"No live data of {data.name}", text, "critical"), now_s)
        else:
            back = Notice(f"{data.name} is {data.state} again", data.detail)
            yield from self._return(data.name, back)

    def take_account(self, account: AccountState, now_s: float) -> Iterator[Notice]:
        """How an account is now. That it is being reconciled changes nothing."""
        name = _name(account)
        if account.state == "unreachable":
            gone = Notice(f"{name} is unreachable", account.reason, "critical")
            self._leave(account.account, gone, now_s)
        elif account.state == "ready":
            back = Notice(f"{name} is ready again", account.reason)
            yield from self._return(account.account, back)

    def judge(self, wanted: Collection[str], now_s: float) -> Iterator[Notice]:
        """What is to be told by now of those that have orders; of others nothing is remembered."""
        self._told &= set(wanted)
        for name, (since_s, notice) in self._away.items():
            if name in wanted and name not in self._told and now_s >= since_s + PATIENCE_S:
                self._told.add(name)
                yield notice

    def due_s(self, wanted: Collection[str]) -> float | None:
        """When to `judge` again, if at all."""
        waiting = [
            since_s
            for name, (since_s, _) in self._away.items()
            if name in wanted and name not in self._told
        ]
        return min(waiting) + PATIENCE_S if waiting else None

    def _leave(self, name: str, notice: Notice, now_s: float) -> None:
        since_s, _ = self._away.get(name, (now_s, notice))
        self._away[name] = since_s, notice

    def _return(self, name: str, notice: Notice) -> Iterator[Notice]:
        self._away.pop(name, None)
        if name in self._told:
            self._told.discard(name)
            yield notice


def with_orders(lives: Iterable[Life]) -> set[str]:
    """Markets in which an order isn't closed, and accounts that it needs."""
    orders = [life.order for life in lives if not life.closed]
    accounts = {order.account for order in orders if order.kind != "alert"}
    return {order.market for order in orders} | accounts
