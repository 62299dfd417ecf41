"""What became of orders at IB: of what a gateway says of them, in any order, the events.

A gateway says most things of an order twice, some out of order and some never. So nothing that it
says is taken for a step from what it said before: each word is evidence of something, and of each
thing is told once. What it takes as evidence:

- that an order is there: openOrder or orderStatus with PreSubmitted, Submitted or Filled, or an
  execution. PendingSubmit, ApiPending and PendingCancel are none: they may be the gateway's guess.
- that it is done: executions, and nothing else. The status Filled says only that there are some.
- that it has ended: the status Cancelled or ApiCancelled, the notice 202, or the list of completed
  orders. The status Inactive is none by itself: a broker may hold an order so.
- that it was refused: a notice that says so (codes.order) before the order was ever there; or one
  of what was there, together with Inactive.
- that an amendment is in effect: openOrder with its size and limit, with a status as of what is
  there.

An execution waits a little for what it cost, and an end for its reason, since both come after it,
if they do. An execution whose cost comes later is told again with it, by a higher revision.
Revisions are three a correction: without its cost, with that of the correction before, with its
own; that is 0 for what was never corrected. An order's id at the venue is its permId, which it
keeps for ever; order ids are a client's.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TypeVar

from msgspec import Struct, structs

from piker.brokers.ib import codes
from piker.brokers.ib.execids import KNOWN, parts, revision
from piker.brokers.ib.messages import (
    Commission,
    Contract,
    Done,
    EndedOrder,
    Notice,
    OrderIs,
    PlaceOrder,
    StatusIs,
)
from piker.orders import (
    NOTHING,
    Acked,
    AmendAcked,
    AmendRefused,
    BrokerEvent,
    Cancelled,
    CancelRefused,
    Execution,
    Filled,
    Refused,
    Side,
    VenueExpired,
)

GRACE_NS = 500_000_000
"""How long an execution waits for its cost, and an end for its reason."""
AHEAD_NS = 60_000_000_000
"""A gateway's clock may be so far ahead of ours."""
KEPT = 20_000
"""Orders that have ended, and executions, of which so many are remembered: a venue's day."""

THERE = {"PreSubmitted", "Submitted", "Filled"}
ENDED = {"Cancelled", "ApiCancelled"}
INACTIVE = "Inactive"

Key = TypeVar("Key")
Kept = TypeVar("Kept")
OrderWord = OrderIs | StatusIs | EndedOrder | Done | Commission | Notice


class Word(Struct, frozen=True, kw_only=True):
    """Something to tell of an order. `account` is its number; an execution's market is empty."""

    oid: str
    account: str
    contract: Contract
    event: BrokerEvent


class Amendment(Struct, frozen=True, kw_only=True):
    """What an order is to become."""

    n: int
    size: Decimal
    limit: Decimal | None


class Order:
    """One order of a client's, by its order id."""

    def __init__(self, client_id: int, order_id: int, oid: str) -> None:
        self.client_id = client_id
        self.order_id = order_id
        self.oid = oid
        """Empty: not an order of ours."""
        self.asked: PlaceOrder | None = None
        """As it was placed or found; None: only its executions are known."""
        self.kind = ""
        """orderType."""
        self.perm_ids: list[int] = []
        self.size = NOTHING
        """The most that it ever was to be."""
        self.reported = NOTHING
        """The most that a status said is done."""
        self.fills: dict[str, _Fill] = {}
        self.amendment: Amendment | None = None
        """On its way, and not answered."""
        self.cancelling = False
        """A cancel is on its way, and not answered."""
        self.there = False
        """It was seen at the gateway, ever."""
        self.refused = False
        self.refused_ns = 0
        """When that was said, UTC; why, `objection` says."""
        self.acked: set[int] = set()
        """Of which permIds it was told that they are there, and have ended."""
        self.gone: set[int] = set()
        self.inactive = False
        self.objection = ""
        """Why it was refused, perhaps: with Inactive it was."""
        self.settled: Notice | None = None
        """What refused its last amendment: what else refuses something is perhaps of that, too, and
        said again it means nothing."""
        self.account = ""
        self.contract = Contract()

    @property
    def perm_id(self) -> int:
        """The newest; 0: not known."""
        return self.perm_ids[-1] if self.perm_ids else 0

    @property
    def over(self) -> bool:
        """Whether nothing of it can be open, as far as was said."""
        return self.refused or bool(self.gone and set(self.perm_ids) <= self.gone)

    @property
    def done(self) -> Decimal:
        """How much of it is done, by what says the most."""
        return max(self.reported, sum((each.newest.size for each in self.fills.values()), NOTHING))

    def word(self, event: BrokerEvent) -> Word:
        """An event of it."""
        return Word(oid=self.oid, account=self.account, contract=self.contract, event=event)


class _End(Struct):
    """An order has ended: what is known of it, and until when more is waited for."""

    order: Order
    perm_id: int
    reason: str | None
    until_ns: int


class _Fill:
    """An execution in its corrections."""

    def __init__(self, oid: str, venue_id: str) -> None:
        self.oid = oid
        self.venue_id = venue_id
        self.done: dict[int, Done] = {}
        """By the number of the correction, from 1."""
        self.told: int | None = None
        """The newest revision that was told."""
        self.until_ns = 0
        """Until when it waits for its cost, if it does."""

    @property
    def newest(self) -> Done:
        """The newest correction."""
        return self.done[max(self.done)]

    @property
    def time_ns(self) -> int:
        """When it was done, by that, UTC."""
        return self.newest.time_ns or 0


class Orders:
    """All orders that a client has placed or was told of. Times are CLOCK_BOOTTIME ns."""

    def __init__(self, client_id: int) -> None:
        self.highest_id = 0
        """The highest order id of this client's that was ever seen."""
        self._client_id = client_id
        self._orders: dict[tuple[int, int], Order] = {}
        self._by_perm: dict[int, Order] = {}
        self._refs: dict[str, list[Order]] = {}
        """References that were ever seen, and their orders, oldest first."""
        self._stray: dict[int, StatusIs] = {}
        """Statuses of orders of which nothing else was said yet, by permId."""
        self._ends: dict[tuple[int, int], _End] = {}
        self._fills: dict[str, _Fill] = {}
        self._waiting: dict[str, _Fill] = {}
        """Those that wait for their cost."""
        self._costs: dict[str, Commission] = {}
        self._wall_ns = 0
        """When it was that something was said last, UTC."""

    # --- what we do

    def place(self, order_id: int, asked: PlaceOrder) -> None:
        """An order is about to leave."""
        order = self._add(Order(self._client_id, order_id, asked.ref))
        self._describe(order, asked)

    def unplace(self, order_id: int) -> None:
        """Nothing of it has left."""
        order = self._orders.pop((self._client_id, order_id))
        self._refs.pop(order.oid)

    def amend(self, order: Order, amendment: Amendment) -> None:
        """An amendment is about to leave; of one before nothing more can be told."""
        order.amendment, order.settled = amendment, None
        order.size = max(order.size, amendment.size)

    def unamend(self, order: Order) -> None:
        """Nothing of it has left."""
        order.amendment = None

    def lose(self) -> None:
        """The connection is lost: what was asked and not answered won't be."""
        for order in self._orders.values():
            order.amendment, order.cancelling = None, False

    # --- what is known

    def is_known(self, oid: str) -> bool:
        """Whether an order came with this reference, ever."""
        return oid in self._refs

    def oid_of(self, client_id: int, ref: str) -> str:
        """The reference of an order of ours; empty of another client's, or by hand."""
        return ref if client_id == self._client_id else ""

    def find(self, oid: str, venue_ids: Iterable[str] = ()) -> list[Order]:
        """Those with a reference, oldest first, and those with one of these ids."""
        found = list(self._refs.get(oid, ()))
        for venue_id in venue_ids:
            order = self._by_perm.get(int(venue_id)) if venue_id.isdecimal() else None
            if order and order not in found:
                found.append(order)
        return found

    def by_perm(self, perm_id: int) -> Order | None:
        """The order that has this permId."""
        return self._by_perm.get(perm_id)

    def by_id(self, order_id: int) -> Order | None:
        """The order of this client's that has this order id."""
        return self._orders.get((self._client_id, order_id))

    def contracts(self) -> list[Contract]:
        """What executions were in."""
        return [fill.newest.contract for fill in self._fills.values()]

    def open(self) -> list[Order]:
        """Those of all clients of which no end was said, nor that all was done, oldest first."""
        return [each for each in self._orders.values() if not _is_over(each)]

    def refused(self, since_ns: int) -> list[Order]:
        """Those of this client that were refused since: a gateway lists them nowhere. UTC ns."""
        every = self._orders.values()
        return [each for each in every if each.oid and each.refused and each.refused_ns >= since_ns]

    def executions(self, since_ns: int) -> list[Word]:
        """What was done since, in its newest revisions, oldest first; UTC ns."""
        fills = [each for each in self._fills.items() if each[1].time_ns >= since_ns]
        fills.sort(key=lambda each: (each[1].time_ns, each[0]))
        return [self._filled(root, fill) for root, fill in fills]

    # --- what is said

    def take(self, said: OrderWord, now_ns: int, wall_ns: int) -> list[Word]:
        """What is to be told because of it, now.

        An execution whose time can't be read was done when it was first told: at `wall_ns`, UTC. Of
        a time that comes twice it is the second, unless that is still to come.
        """
        self._wall_ns = wall_ns
        match said:
            case OrderIs():
                return list(self._take_open(said, now_ns))
            case StatusIs():
                return list(self._take_status(said, now_ns))
            case EndedOrder():
                return list(self._take_ended(said, now_ns))
            case Done():
                dated = structs.replace(said, time_ns=_done_at(said, wall_ns))
                return list(self._take_done(dated, now_ns))
            case Commission():
                return list(self._take_cost(said, now_ns))
            case Notice():
                return list(self._take_notice(said, now_ns))

    @property
    def next_at(self) -> int | None:
        """When what waits is to be told at the latest; None: nothing waits."""
        waits = [end.until_ns for end in self._ends.values()]
        waits += [fill.until_ns for fill in self._waiting.values()]
        return min(waits, default=None)

    def due(self, now_ns: int) -> list[Word]:
        """What has waited for long enough."""
        words = []
        for key, end in list(self._ends.items()):
            if end.until_ns <= now_ns:
                words += list(self._tell_end(key))
        for root, fill in list(self._waiting.items()):
            if fill.until_ns <= now_ns:
                words += list(self._tell_fill(root, fill))
        return words

    def _take_open(self, said: OrderIs, now_ns: int) -> Iterator[Word]:
        order = self._known(said.perm_id, said.client_id, said.order_id)
        if order is None:
            oid = self.oid_of(said.client_id, said.ref)
            order = self._add(Order(said.client_id, _id(said.order_id, said.perm_id), oid))
        order.size = max(order.size, said.size)
        if order.asked is None:
            self._describe(order, _as_placed(said))
            order.kind = said.order_type
        yield from self._link(order, said.perm_id, now_ns)
        yield from self._stand(order, said.perm_id, said.status, now_ns)
        wanted = order.amendment if said.status in THERE else None
        if wanted and (wanted.size, wanted.limit) == (said.size, said.limit):
            order.amendment = None
            yield order.word(AmendAcked(n=wanted.n, size=wanted.size, limit=wanted.limit))

    def _take_status(self, said: StatusIs, now_ns: int) -> Iterator[Word]:
        """Who cancelled an order is perhaps whose client id it comes with: its permId counts."""
        order = self._known(said.perm_id, said.client_id, said.order_id)
        if order is None:
            self._stray[said.perm_id] = said
            _shorten(self._stray)
            return
        order.reported = max(order.reported, said.filled)
        yield from self._link(order, said.perm_id, now_ns)
        yield from self._stand(order, said.perm_id, said.status, now_ns)

    def _take_ended(self, said: EndedOrder, now_ns: int) -> Iterator[Word]:
        self._remember(said.ref)
        order = self._by_perm.get(said.perm_id)
        if order is None:
            return
        if said.status == INACTIVE:
            yield from self._refuse(order, said.reason or "the gateway lists it as rejected")
        elif said.status in ENDED and said.perm_id not in order.gone:
            yield from self._end(order, said.perm_id, said.reason, now_ns)

    def _take_done(self, said: Done, now_ns: int) -> Iterator[Word]:
        order = self._known(said.perm_id, said.client_id, said.order_id)
        if order is None:
            oid = self.oid_of(said.client_id, said.ref)
            order = self._add(Order(said.client_id, _id(said.order_id, said.perm_id), oid))
        order.account = order.account or said.account
        order.contract = order.contract if order.contract.con_id else said.contract
        yield from self._link(order, said.perm_id, now_ns)
        yield from self._show(order)
        root, number = parts(said.exec_id)
        fill = self._fills.get(root)
        if fill is None:
            fill = self._fills[root] = _Fill(order.oid, str(said.perm_id or ""))
            _shorten(self._fills)
        order.fills[root] = fill
        fill.done.setdefault(number, said)
        yield from self._weigh_fill(root, fill, now_ns)

    def _take_cost(self, said: Commission, now_ns: int) -> Iterator[Word]:
        if said.amount is None:
            return
        self._costs.setdefault(said.exec_id, said)
        _shorten(self._costs)
        root, _ = parts(said.exec_id)
        if fill := self._fills.get(root):
            yield from self._weigh_fill(root, fill, now_ns)

    def _take_notice(self, said: Notice, now_ns: int) -> Iterator[Word]:
        order = self.by_id(said.number)
        if order is None or said == order.settled:
            return
        amending = order.amendment is not None
        verdict, why = codes.order(said.code, said.text, acked=order.there, amending=amending)
        match verdict:
            case "rejected":
                yield from self._refuse(order, why)
            case "cancelled":
                yield from self._end(order, 0, why if _says_why(said.text) else "", now_ns)
            case "amendment refused":
                yield from self._refuse_amendment(order, said, why)
            case "cancel refused" if order.cancelling:
                order.cancelling = False
                yield order.word(CancelRefused(reason=why))
            case "no verdict" if order.cancelling and codes.is_read_only(said.code, said.text):
                order.cancelling = False
                yield order.word(CancelRefused(reason=why))
            case "no verdict" if said.code in codes.REJECTS and not (amending or order.settled):
                order.objection = why
                yield from self._judge_inactive(order)

    # --- what it means

    def _stand(self, order: Order, perm_id: int, status: str, now_ns: int) -> Iterator[Word]:
        if status in THERE:
            yield from self._show(order)
        elif status in ENDED:
            yield from self._end(order, perm_id, None, now_ns)
        elif status == INACTIVE:
            order.inactive = True
            yield from self._judge_inactive(order)

    def _show(self, order: Order) -> Iterator[Word]:
        """It is there. Told when its permId is known, which may be 0 at first."""
        order.there = True
        for perm_id in order.perm_ids:
            if perm_id not in order.acked:
                order.acked.add(perm_id)
                yield order.word(Acked(venue_id=str(perm_id)))

    def _link(self, order: Order, perm_id: int, now_ns: int) -> Iterator[Word]:
        """It has this permId, too."""
        if not perm_id or perm_id in order.perm_ids:
            return
        order.perm_ids.append(perm_id)
        self._by_perm[perm_id] = order
        if 0 in order.gone:
            order.gone.add(perm_id)
        if order.there:
            yield from self._show(order)
        end = self._ends.get(_key(order))
        if end and not end.perm_id:
            yield from self._end(order, perm_id, end.reason, now_ns)
        if stray := self._stray.pop(perm_id, None):
            yield from self._take_status(stray, now_ns)

    def _end(self, order: Order, perm_id: int, reason: str | None, now_ns: int) -> Iterator[Word]:
        """It has ended: told with its reason and permId, as soon as both are known."""
        perm_id = perm_id or order.perm_id
        if order.refused or (perm_id and perm_id in order.gone) or (not perm_id and order.gone):
            return
        end = self._ends.setdefault(
            _key(order), _End(order, perm_id, reason, until_ns=now_ns + GRACE_NS)
        )
        end.perm_id = end.perm_id or perm_id
        end.reason = reason if end.reason is None else end.reason
        if end.perm_id and end.reason is not None:
            yield from self._tell_end(_key(order))

    def _tell_end(self, key: tuple[int, int]) -> Iterator[Word]:
        """After what was done of it: that is late only if the gateway tells it late."""
        end = self._ends.pop(key)
        order, reason = end.order, end.reason or end.order.objection
        for root in order.fills.keys() & self._waiting.keys():
            yield from self._tell_fill(root, order.fills[root])
        order.gone.add(end.perm_id)
        venue_id = str(end.perm_id or "")
        if "expire" in reason.lower():
            yield order.word(VenueExpired(venue_id=venue_id))
        else:
            yield order.word(Cancelled(venue_id=venue_id, reason=reason))

    def _refuse(self, order: Order, why: str) -> Iterator[Word]:
        """It isn't at the exchange: once."""
        self._ends.pop(_key(order), None)
        if not (order.refused or order.gone):
            order.refused, order.refused_ns, order.objection = True, self._wall_ns, why
            yield order.word(Refused(reason=why))

    def _judge_inactive(self, order: Order) -> Iterator[Word]:
        if order.inactive and order.objection:
            yield from self._refuse(order, order.objection)

    def _refuse_amendment(self, order: Order, said: Notice, why: str) -> Iterator[Word]:
        """The order is as it was."""
        assert order.amendment
        wanted, order.amendment, order.settled = order.amendment, None, said
        yield order.word(AmendRefused(n=wanted.n, reason=why))

    # --- executions

    def _weigh_fill(self, root: str, fill: _Fill, now_ns: int) -> Iterator[Word]:
        """Tell it, or have it wait for its cost."""
        if fill.told is not None and self._revision(fill) <= fill.told:
            return
        if fill.newest.exec_id in self._costs:
            yield from self._tell_fill(root, fill)
        elif root not in self._waiting:
            self._waiting[root] = fill
            fill.until_ns = now_ns + GRACE_NS

    def _tell_fill(self, root: str, fill: _Fill) -> Iterator[Word]:
        self._waiting.pop(root, None)
        fill.told = self._revision(fill)
        yield self._filled(root, fill)

    def _revision(self, fill: _Fill) -> int:
        """Higher the later the correction, and the more is known of its cost."""
        return revision(max(fill.done, default=1), self._cost(fill)[0])

    def _cost(self, fill: _Fill) -> tuple[int, Commission | None]:
        """Its own, else that of the correction before; and how good it is."""
        newest = max(fill.done, default=1)
        if newest not in fill.done:
            return 0, None
        if own := self._costs.get(fill.done[newest].exec_id):
            return KNOWN, own
        before = fill.done.get(newest - 1)
        cost = self._costs.get(before.exec_id) if before else None
        return (1, cost) if cost else (0, None)

    def _filled(self, root: str, fill: _Fill) -> Word:
        """An execution as it is known now."""
        done = fill.newest
        _, cost = self._cost(fill)
        execution = Execution(
            exec_id=root,
            revision=self._revision(fill),
            oid=fill.oid,
            venue_id=fill.venue_id,
            account=done.account,
            market="",
            side=_side(done.side),
            size=done.size,
            price=done.price,
            fee=cost.amount if cost and cost.amount is not None else NOTHING,
            fee_currency=cost.currency if cost else done.contract.currency,
            time_ns=fill.time_ns,
        )
        event = Filled(execution=execution)
        return Word(oid=fill.oid, account=done.account, contract=done.contract, event=event)

    # --- who is who

    def _known(self, perm_id: int, client_id: int, order_id: int) -> Order | None:
        by_id = self._orders.get((client_id, _id(order_id, perm_id)))
        return self._by_perm.get(perm_id) or by_id

    def _add(self, order: Order) -> Order:
        if order.client_id == self._client_id:
            self.highest_id = max(self.highest_id, order.order_id)
        self._orders[_key(order)] = order
        self._remember(order.oid)
        if order.oid:
            self._refs[order.oid].append(order)
        self._forget()
        return order

    def _describe(self, order: Order, asked: PlaceOrder) -> None:
        order.asked = asked
        order.kind = "MKT" if asked.limit is None else "LMT"
        order.account = asked.account
        order.contract = asked.contract
        order.size = max(order.size, asked.size)

    def _remember(self, ref: str) -> None:
        if not ref:
            return
        self._refs.setdefault(ref, [])
        if len(self._refs) > KEPT:
            self._forget_reference(ref)

    def _forget_reference(self, newest: str) -> None:
        """The oldest of which nothing is open, if there is one."""
        for ref, orders in self._refs.items():
            if ref != newest and all(map(_is_over, orders)):
                del self._refs[ref]
                return

    def _forget(self) -> None:
        """The oldest that isn't open, if there are too many."""
        if len(self._orders) <= KEPT:
            return
        every = self._orders.values()
        oldest = next((each for each in every if _is_over(each)), None)
        if oldest:
            del self._orders[_key(oldest)]
            for perm_id in oldest.perm_ids:
                self._by_perm.pop(perm_id, None)


def _is_over(order: Order) -> bool:
    """Whether its end was said, or all of it was done."""
    return order.over or order.done >= order.size > 0


def _key(order: Order) -> tuple[int, int]:
    return order.client_id, order.order_id


def _id(order_id: int, perm_id: int) -> int:
    """Orders by hand have no order ids of their own: theirs are made of their permIds."""
    return order_id if order_id > 0 else -perm_id


def _as_placed(said: OrderIs) -> PlaceOrder:
    """An order that was found, as it would have been placed."""
    return PlaceOrder(
        contract=said.contract,
        ref=said.ref,
        account=said.account,
        side="BUY" if said.side == "BUY" else "SELL",
        size=said.size,
        limit=said.limit,
        tif=said.tif,  # type: ignore[arg-type] # what can't be written is refused before
    )


def _done_at(said: Done, wall_ns: int) -> int:
    """When it was done, UTC, if it is told at this time."""
    if said.latest_ns is not None and said.latest_ns <= wall_ns + AHEAD_NS:
        return said.latest_ns
    return wall_ns if said.time_ns is None else said.time_ns


def _side(side: str) -> Side:
    return "buy" if side in ("BOT", "BUY") else "sell"


def _says_why(text: str) -> bool:
    return bool(text.rpartition("reason:")[2].strip())


def _shorten(kept: dict[Key, Kept]) -> None:
    """Forget the oldest, if there are too many."""
    if len(kept) > KEPT:
        del kept[next(iter(kept))]
