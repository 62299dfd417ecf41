"""How orders are shown: a JSON object a line, a line of text, a table."""

import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from piker.accounts import AccountState
from piker.cli.times import local, made_or_filled_ns, short
from piker.core.mirror import Change
from piker.core.wording import asked, money, number, remedy, rounded, standing, told
from piker.interfaces.orders import AccountsReply, OrderNews
from piker.orders import Life

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

NO_EDGE = 1000
"""Columns where no terminal ends a line: each row has one."""
TAIL = 8
"""Digits of an oid that a table in a terminal shows: its last ones are random."""

Live = Mapping[str, bool]
"""Whether an account trades real money, by name; one that isn't there: nobody knows."""


class Line(Struct, frozen=True, kw_only=True):
    """What commands print with --json: how an order stands, and the event that made it so.

    Without an event, event and time_ns are null, and seq is that of the book.
    """

    event: str | None
    seq: int
    oid: str
    state: str
    filled: Decimal
    remaining: Decimal
    average_price: Decimal | None
    account: str
    live: bool | None
    time_ns: int | None
    reason: str
    market: str
    side: str
    size: Decimal
    kind: str
    limit: Decimal | None
    trigger: Decimal | None
    when: str | None
    tif: str
    reduce_only: bool
    armed: bool


def live_by_name(reply: AccountsReply) -> Live:
    """Whether accounts trade real money; those of which nobody knows are left out."""
    return {each.account: each.live for each in reply.accounts if each.live is not None}


def is_live(account: str, live: Live) -> bool | None:
    """Whether it is real money; None: nobody knows."""
    return False if money(account, None) == "paper" else live.get(account)


def json(life: Life, live: Live, seq: int, news: OrderNews | None = None) -> str:
    """One line for a program."""
    order = life.order
    line = Line(
        event=type(news.event).__name__ if news else None,
        seq=news.seq if news else seq,
        oid=order.oid,
        state=life.state,
        filled=life.filled,
        remaining=life.remaining,
        average_price=life.average_price,
        account=order.account,
        live=is_live(order.account, live),
        time_ns=news.time_ns if news else None,
        reason=life.reason,
        market=order.market,
        side=order.side,
        size=life.size,
        kind=order.kind,
        limit=life.limit,
        trigger=life.trigger,
        when=life.when or order.when,
        tif=order.tif,
        reduce_only=order.reduce_only,
        armed=life.armed,
    )
    return msgspec.json.encode(line).decode()


def account(name: str, live: Live) -> str:
    """An account, and whether it is paper or live."""
    return f"{name} ({money(name, is_live(name, live))})"


def text(life: Life, live: Live) -> str:
    """How an order stands, in a line."""
    return f"{_what(life, live)}: {_stands(life, life.reason)}"


def news(change: Change, live: Live) -> str:
    """What happened to an order, in a line in local time."""
    life, event = change.life, change.news
    when = local(event.time_ns) if event else " " * 8
    happened = told(event.event) if event else "changed unseen"
    what = f"{life.order.oid}  {_what(life, live)}: {happened}"
    return f"{when}  {what} → {_stands(life, '' if event else life.reason)}"


def _what(life: Life, live: Live) -> str:
    return f"{account(life.order.account, live)}: {asked(life)}"


def _stands(life: Life, reason: str) -> str:
    filled = f"filled {done(life)}" if life.filled else ""
    return "; ".join(filter(None, [standing(life), filled, reason, remedy(life)]))


def done(life: Life) -> str:
    """What is done of it: "500/1000 at 1.1001"."""
    price = f" at {rounded(life.average_price)}" if life.average_price is not None else ""
    return f"{number(life.filled)}/{number(life.size)}{price}"


def notes(accounts: AccountsReply, lives: Iterable[Life]) -> list[str]:
    """What stands below a table: a halt, what is to be said of accounts, and what to do."""
    halted = [] if accounts.halted is None else [f"HALTED, no new order leaves: {accounts.halted}"]
    live = live_by_name(accounts)
    remarks = [_remark(each, live) for each in accounts.accounts]
    unexplained = [
        f"{account(each.account, live)}: the position in {market} is unexplained, only "
        f"reducing orders leave; piker accept {each.account} {market} --note TEXT"
        for each in accounts.accounts
        for market in each.unexplained
    ]
    doubts = [f"{each.order.oid}: {remedy(each)}" for each in lives if remedy(each)]
    return [*halted, *filter(None, remarks), *unexplained, *doubts]


def _remark(state: AccountState, live: Live) -> str:
    """What is to be said of an account: why it isn't ready, or what is strange at its venue."""
    name = account(state.account, live)
    if state.state != "ready":
        return f"{name} is {state.state}: {state.reason}"
    return f"{name}: {state.reason}" if state.reason else ""


def not_cancelled(lives: Iterable[Life], states: Iterable[AccountState]) -> list[str]:
    """A line for each account at whose venue a cancel can't have arrived."""
    asked = {life.order.account for life in lives if life.cancel and not life.closed}
    known = {each.account: each for each in states}
    return [
        f"NOT cancelled yet: {name} is {away(known.get(name))}; the cancel is sent when it is back"
        for name in sorted(asked)
        if name not in known or known[name].state != "ready"
    ]


def away(state: AccountState | None) -> str:
    """Why an account can't be asked: "unreachable (no link)"."""
    if state is None:
        return "unreachable (no broker daemon tells of it)"
    return f"{state.state} ({state.reason})" if state.reason else state.state


def print_standing(lives: Iterable[Life], live: Live, seq: int, *, as_json: bool) -> None:
    """Print how each stands, at once."""
    for life in lives:
        print(json(life, live, seq) if as_json else f"{life.order.oid}  {text(life, live)}")
    sys.stdout.flush()


def print_changes(changes: Iterable[Change], live: Live, seq: int, *, as_json: bool) -> None:
    """Print each, at once."""
    for change in changes:
        print(json(change.life, live, seq, change.news) if as_json else _told(change, live))
    sys.stdout.flush()


def _told(change: Change, live: Live) -> str:
    """What happened to an order, or how it stands if that isn't known and it is new."""
    if change.news or change.before:
        return news(change, live)
    return f"{' ' * 8}  {change.life.order.oid}  {text(change.life, live)}"


def table(lives: Iterable[Life], live: Live) -> "Table":
    """Orders, for rich."""
    made = grid("order", "made/filled", "account", "", "what", "state", "filled", "reason")
    for life in lives:
        add(
            made,
            shown_oid(life.order.oid),
            short(made_or_filled_ns(life)),
            life.order.account,
            styled_money(life.order.account, live),
            asked(life),
            plain(standing(life), "bold red" if remedy(life) else ""),
            "" if life.order.kind == "alert" else done(life),
            life.reason,
        )
    return made


def grid(*columns: str, right: Iterable[str] = ()) -> "Table":
    """An empty table."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def add(made: "Table", *cells: "str | Text") -> None:
    """Add a row, as text, not as markup: a reason may hold brackets."""
    made.add_row(*(plain(each) if isinstance(each, str) else each for each in cells))


def plain(value: str, style: str = "") -> "Text":
    """Text that is shown as it is."""
    from rich.text import Text

    return Text(value, style=style)


def styled_money(name: str, live: Live) -> "Text":
    """Paper or live; what may be real money is red."""
    word = money(name, is_live(name, live))
    return plain(word, "bold red" if word.startswith("LIVE") else "")


def shown_oid(oid: str) -> str:
    """The whole oid; in a terminal its end, which is enough to name it."""
    return oid[-TAIL:] if sys.stdout.isatty() else oid


def show(renderable: Any) -> None:
    """Print a table; without a terminal, none of its lines is cut."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else NO_EDGE
    Console(highlight=False, width=width, soft_wrap=False).print(renderable)
