"""What commands ask of emsd: which accounts are live, which order is meant, and to submit one."""

import sys
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import aclosing, suppress
from typing import Annotated, TypeVar

import trio
from msgspec import Meta

from piker import brokers, client
from piker.accounts import PAPER
from piker.cli.lines import Live, live_by_name
from piker.core.mirror import Mirror
from piker.core.names import resolve, similar
from piker.errors import Fault, Refused, Unreachable
from piker.interfaces import Call, Reply
from piker.interfaces.broker import UnknownAccount
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket
from piker.interfaces.orders import (
    Accounts,
    AccountsReply,
    Positions,
    PositionsReply,
    Submit,
    SubmitReply,
    Timeline,
    TimelineReply,
)
from piker.orders import Life, Order
from piker.varlink import CALL_TIMEOUT_S

OID = "its id, or how the id begins or ends"
"""How commands say which order is meant."""
WHOLE_OID = 36
"""Characters of a UUID; what is shorter may be a part of one."""
CANDIDATES = 5
"""Orders that are named where more than one is meant."""

R = TypeVar("R", bound=Reply)
T = TypeVar("T")


class AmbiguousOrder(Fault, frozen=True, kw_only=True):
    """More than one order begins or ends so."""

    oid: Annotated[str, Meta(description="what was given")]
    candidates: Annotated[tuple[str, ...], Meta(description="whole ids; the rest is counted")]


def say(problem: object) -> None:
    """Tell a person what goes on besides."""
    print(f"piker: {problem}", file=sys.stderr, flush=True)


def say_lost(error: Unreachable) -> None:
    """Tell that emsd went away, and that it is waited for."""
    say(f"{error}; trying again")


async def over_restarts(ask: Callable[[], Awaitable[T]]) -> T:
    """What emsd answers, asked again each time that it went away. Raises Refused.

    For what follows an answer: a first question ends where nobody is there.
    """
    while True:
        try:
            return await ask()
        except Unreachable as error:
            say_lost(error)
            await trio.sleep(client.RETRY_S)


async def request(call: Call, reply: type[R], timeout_s: float = CALL_TIMEOUT_S) -> R:
    """Have emsd do it. Raises Refused, or Unreachable, which then says if it may be done."""
    async with client.trading() as emsd:
        try:
            return await emsd.call(call, reply, timeout_s)
        except Unreachable as error:
            unknown = "whether that was taken is not known; see `piker orders`"
            raise Unreachable(f"{error}; {unknown}") from error


async def accounts() -> AccountsReply:
    """How the accounts are. Raises Refused or Unreachable."""
    async with client.viewing() as emsd:
        return await emsd.call(Accounts(), AccountsReply)


async def live() -> Live:
    """Which accounts trade real money. Raises as `accounts`."""
    return live_by_name(await accounts())


async def book() -> Mirror:
    """Every order as it stands. Raises Refused or Unreachable."""
    mirror = Mirror()
    async with aclosing(client.follow_orders(mirror, say_lost)) as replies:
        async for _ in replies:
            if mirror.since is not None:
                break
    return mirror


async def life(oid: str) -> Life:
    """How an order stands, however old it is. Raises Refused or Unreachable."""
    return (await timeline(oid)).life


async def timeline(oid: str) -> TimelineReply:
    """All that ever happened to an order. Raises Refused or Unreachable."""
    async with client.viewing() as emsd:
        return await emsd.call(Timeline(oid=oid), TimelineReply)


async def whole_oid(given: str) -> str:
    """The order that an oid means, or its beginning or end. Raises Refused or Unreachable."""
    if len(given) >= WHOLE_OID:
        return given
    found = matching(given, (await book()).lives)
    if len(found) > 1:
        raise Refused(AmbiguousOrder(oid=given, candidates=_first(found)))
    return found[0] if found else given


def _first(oids: tuple[str, ...]) -> tuple[str, ...]:
    more = len(oids) - CANDIDATES
    return oids if more <= 0 else (*oids[:CANDIDATES], f"and {more} more")


def matching(given: str, oids: Iterable[str]) -> tuple[str, ...]:
    """The oids that are it, or else begin or end so."""
    known = tuple(oids)
    if given in known:
        return (given,)
    return tuple(oid for oid in known if oid.startswith(given) or oid.endswith(given))


async def whole_market(name: str) -> str:
    """A name that emsd can place: one without its provider is asked of all that listen.

    Raises Refused or Unreachable.
    """
    provider = client.provider_of(name.lower())
    if "." in name and (provider in client.listening() or provider in brokers.known()):
        return name
    return (await client.describe(name)).fqme


async def narrowed(account: str | None, market: str | None) -> tuple[str | None, str | None]:
    """The whole names of those of which there is something: what names nothing is refused.

    Raises Refused or Unreachable.
    """
    if account is None and market is None:
        return None, None
    orders = [life.order for life in (await book()).lives.values()]
    async with client.viewing() as emsd:
        held = (await emsd.call(Positions(), PositionsReply)).positions
        accounts = (await emsd.call(Accounts(), AccountsReply)).accounts
    positions = [each.position for each in held]
    names = {each.account for each in orders} | {each.account for each in positions}
    names |= {each.account for each in accounts}
    markets = {each.market for each in orders} | {each.market for each in positions}
    return (
        None if account is None else whole_account(account, names),
        None if market is None else market_among(market, markets),
    )


async def account_named(given: str) -> str:
    """An account by its name, which emsd may not know yet; "paper" is the only paper one, or the
    only one with an order or a position. Raises as `narrowed`.
    """
    if given != PAPER:
        return given
    lives = (await book()).lives.values()
    async with client.viewing() as emsd:
        held = (await emsd.call(Positions(), PositionsReply)).positions
    busy = {each.position.account for each in held if each.position.size}
    busy |= {life.order.account for life in lives if not life.closed}
    paper = [name for name in busy if name.startswith(f"{PAPER}.")]
    if len(paper) == 1:
        return paper[0]
    whole, _ = await narrowed(given, None)
    assert whole is not None
    return whole


def whole_account(given: str, known: Collection[str]) -> str:
    """The account of these that is meant; "paper" is the only paper one. Raises Refused."""
    paper = [name for name in known if name.startswith(f"{PAPER}.")]
    found = paper if given == PAPER else [name for name in known if name == given]
    if len(found) != 1:
        raise Refused(UnknownAccount(account=given, allowed=tuple(sorted(known))))
    return found[0]


def market_among(given: str, known: Collection[str]) -> str:
    """The market of these that is meant, by its name or less of it. Raises Refused."""
    found = []
    for provider in {client.provider_of(fqme) for fqme in known}:
        with suppress(Refused):
            theirs = {fqme for fqme in known if client.provider_of(fqme) == provider}
            found.append(resolve(given, theirs, provider))
    if len(found) > 1:
        raise Refused(AmbiguousMarket(market=given, candidates=tuple(sorted(found))))
    if not found:
        raise Refused(NoSuchMarket(market=given, similar=similar(given, known)))
    return found[0]


async def submit(order: Order) -> SubmitReply:
    """Have an order carried out. If the answer is lost the same order is submitted once more.

    Raises Refused, or Unreachable, which then says whether anything is known of it. What refuses
    it the second time says nothing of the first: that is said besides.
    """
    call = Submit(order=order)
    async with client.trading() as emsd:
        try:
            return await emsd.call(call, SubmitReply)
        except Unreachable as error:
            say(f"{error}; the same order is submitted again, it is carried out once")
    await trio.sleep(client.RETRY_S)
    unknown = f"outcome of {order.oid} not known; see `piker order {order.oid}`"
    try:
        async with client.trading() as emsd:
            return await emsd.call(call, SubmitReply)
    except Unreachable as error:
        raise Unreachable(f"{error}; {unknown}") from error
    except Refused:
        say(f"refused the second time; {unknown}")
        raise


async def dry_run(order: Order) -> SubmitReply:
    """What risk says, and what would be sent. Raises Refused or Unreachable."""
    async with client.trading() as emsd:
        return await emsd.call(Submit(order=order, dry_run=True), SubmitReply)
