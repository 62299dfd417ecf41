"""What the gateway answers about orders: it takes, modifies and cancels them, or says why not."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tests.fakes.gateway import dataanswers, faults, layouts
from tests.fakes.gateway import requests as asked
from tests.fakes.gateway.book import DONE, Order
from tests.fakes.gateway.catalog import Instrument, increment
from tests.fakes.gateway.requests import Request, Ticket
from tests.fakes.gateway.schedule import next_opening

if TYPE_CHECKING:
    from tests.fakes.gateway.gateway import Gateway
    from tests.fakes.gateway.session import Session

KINDS = ("MKT", "LMT", "STP", "STP LMT")
TIFS = ("", "DAY", "GTC", "IOC", "FOK", "GTD", "OPG")
BY_HAND = 0
MISMATCH = "Order being modified does not match original order."

Refusal = tuple[int, str] | None


def _place(gateway: Gateway, session: Session, request: asked.PlaceOrder) -> None:
    known = gateway.book.find(session.client_id, request.order_id)
    _check_manners(gateway, session, request)
    if known:
        _modify(gateway, session, request, known)
    elif _is_used(gateway, session, request):
        session.say_error(request.order_id, 103, "Duplicate order id")
    else:
        gateway.book.use_id(session.client_id, request.order_id)
        _place_new(gateway, session, request)


def _check_manners(gateway: Gateway, session: Session, request: asked.PlaceOrder) -> None:
    ticket = request.ticket
    if session.client_id in gateway.settings.data_clients:
        session.breach("a connection for data places no order", request.order_id)
    named = ticket.what_if or (ticket.tif and ticket.ref)
    if session.client_id in gateway.settings.our_clients and not named:
        session.breach("our orders have a tif and an orderRef", ticket)
    if not ticket.transmit:
        session.breach("orders are transmitted at once: this gateway plays no other", ticket)


def _is_used(gateway: Gateway, session: Session, request: asked.PlaceOrder) -> bool:
    told = gateway.book.next_id(session.client_id)
    used = gateway.book.state.used.get(session.client_id, 0)
    if request.order_id >= told and request.order_id > used:
        return False
    session.breach("an order id is new", f"{request.order_id}: next {told}, used up to {used}")
    return True


def _place_new(gateway: Gateway, session: Session, request: asked.PlaceOrder) -> None:
    ticket = request.ticket
    found = dataanswers.one(gateway, session, request.order_id, ticket.contract)
    refusal = found and (_refusal(gateway, ticket) or _refused_terms(ticket, found))
    if refusal:
        session.say_error(request.order_id, *refusal)
    elif found and ticket.what_if:
        _preview(gateway, session, request, found)
    elif found:
        _accept(gateway, session, request, found)


def _refusal(gateway: Gateway, ticket: Ticket) -> Refusal:
    accounts = gateway.settings.accounts
    if ticket.account not in ("", *accounts) or (not ticket.account and len(accounts) > 1):
        why = f"Invalid account code '{ticket.account}'."
        return 321, f"Error validating request.-'bW' : cause - {why}"
    if ticket.kind not in KINDS:
        return 387, f"Unsupported order type for this exchange and security type: {ticket.kind}"
    if ticket.tif not in TIFS:
        return 111, f"The TIF (Tif type) and the order type are incompatible: {ticket.tif}"
    if ticket.action not in ("BUY", "SELL"):
        return 321, f"Error validating request.-'bW' : cause - Invalid action: {ticket.action}"
    return None


def _refused_terms(ticket: Ticket, each: Instrument) -> Refusal:
    if each.sec_type == "IND":
        return 201, "Order rejected - reason:No trading permissions."
    if ticket.size <= 0:
        return 434, "The order size cannot be zero."
    if ticket.size % each.min_size:
        return 10243, "Fractional-sized order cannot be placed via API."
    prices = [price for price in _prices(ticket) if price is not None]
    if any(price % increment(each, price) for price in prices):
        return 110, "The price does not conform to the minimum price variation for this contract."
    if len(prices) < sum(word in ticket.kind for word in ("LMT", "STP")):
        return 321, f"Error validating request.-'bW' : cause - {ticket.kind} needs a price"
    return None


def _prices(ticket: Ticket) -> tuple[Decimal | None, Decimal | None]:
    """Limit and stop, where the type of order has them; what else is said isn't looked at."""
    limit = ticket.limit if "LMT" in ticket.kind else None
    return limit, ticket.stop if "STP" in ticket.kind else None


def _order(gateway: Gateway, client_id: int, request: asked.PlaceOrder, each: Instrument) -> Order:
    return Order(
        client_id=client_id,
        order_id=request.order_id,
        perm_id=0,
        con_id=each.con_id,
        exchange=each.exchange,
        account=gateway.first_account(request.ticket.account),
        ticket=request.ticket,
        tif=request.ticket.tif or "DAY",
    )


def _accept(
    gateway: Gateway, session: Session, request: asked.PlaceOrder, each: Instrument
) -> None:
    order = _order(gateway, session.client_id, request, each)
    order.ticket = replace(request.ticket, said=_echoed(request.ticket.said))
    swallowed = gateway.faults.use(faults.Swallow)
    if not request.ticket.tif and not swallowed:
        session.say_error(request.order_id, 10349, faults.PRESET_TIF)
    events = gateway.book.place(
        order,
        gateway.markets[each.con_id],
        is_open=gateway.is_open(each),
        now_ns=gateway.now_ns,
    )
    if swallowed:
        gateway.save(events)
        return
    gateway.tell(events)
    if not gateway.is_open(each):
        _warn_closed(gateway, session, order, each)


def _echoed(said: dict[str, str]) -> dict[str, str]:
    """The fields that are said again; a book with all of every order would be long."""
    return {name: said[name] for name in layouts.ECHOED if said[name]}


def _warn_closed(gateway: Gateway, session: Session, order: Order, each: Instrument) -> None:
    opening = next_opening(each.hours, gateway.now_ns) or "the market opens"
    why = f"Warning: your order will not be placed at the exchange until {opening}"
    session.say_error(order.order_id, 399, f"Order Message:\n{order.ticket.action}\n{why}")


def _preview(
    gateway: Gateway, session: Session, request: asked.PlaceOrder, each: Instrument
) -> None:
    """What a what-if tells: margins and commission; nothing is placed."""
    order = _order(gateway, session.client_id, request, each)
    value = request.ticket.size * gateway.markets[each.con_id].last
    margins: dict[str, object] = {
        f"{name}{when}": amount
        for when, amount in (("Before", Decimal(0)), ("Change", value / 4), ("After", value / 4))
        for name in ("initMargin", "maintMargin", "equityWithLoan")
    }
    costs = {"commission": 1, "minCommission": 1, "maxCommission": 2, "whatIf": 1}
    said = margins | costs | {"commissionCurrency": each.currency}
    session.say(layouts.open_order(order, each, session.version, said))


def _modify(gateway: Gateway, session: Session, request: asked.PlaceOrder, order: Order) -> None:
    each, ticket = gateway.instruments[order.con_id], request.ticket
    terms = _refused_terms(ticket, replace(each, exchange=order.exchange))
    if ticket.action != order.ticket.action or ticket.contract.con_id not in (0, order.con_id):
        session.breach("a modification has the contract and side of its order", request)
        session.say_error(
            order.order_id, 105, "Order being modified does not match original order."
        )
    elif order.status in DONE:
        session.say_error(order.order_id, 104, "Cannot modify a filled order.")
    elif terms:
        session.say_error(order.order_id, *terms)
    else:
        is_open, market = gateway.is_open(each), gateway.markets[order.con_id]
        now_ns = gateway.now_ns
        gateway.tell(gateway.book.modify(order, ticket, market, is_open=is_open, now_ns=now_ns))


def _cancel(gateway: Gateway, session: Session, request: asked.CancelOrder) -> None:
    order = gateway.book.find(session.client_id, request.order_id)
    if not order and session.client_id == BY_HAND:
        orders = gateway.book.open_orders
        order = next((each for each in orders if each.order_id == request.order_id), None)
    if not order:
        why = f"OrderId {request.order_id} that needs to be cancelled is not found."
        session.say_error(request.order_id, 10147, why)
    elif order.status in DONE:
        why = faults.CANNOT_CANCEL.format(order.order_id, order.status)
        session.say_error(request.order_id, 10148, why)
    else:
        gateway.tell(gateway.book.cancel(order, "", gateway.now_ns))


def _cancel_all(gateway: Gateway, session: Session, request: asked.ReqGlobalCancel) -> None:
    for order in gateway.book.open_orders:
        gateway.tell(gateway.book.cancel(order, "", gateway.now_ns))


def _open_orders(gateway: Gateway, session: Session, request: asked.ReqOpenOrders) -> None:
    mine = [each for each in gateway.book.open_orders if each.client_id == session.client_id]
    _say_orders(gateway, session, mine)


def _all_open_orders(gateway: Gateway, session: Session, request: asked.ReqAllOpenOrders) -> None:
    _say_orders(gateway, session, gateway.book.open_orders)


def _say_orders(gateway: Gateway, session: Session, orders: list[Order]) -> None:
    for order in orders:
        each = gateway.instruments[order.con_id]
        session.say(layouts.open_order(order, each, session.version), layouts.order_status(order))
    session.say(layouts.open_order_end())


def _bind(gateway: Gateway, session: Session, request: asked.ReqAutoOpenOrders) -> None:
    if session.client_id != BY_HAND:
        session.breach("only client 0 binds orders by hand", request)


def _completed(gateway: Gateway, session: Session, request: asked.ReqCompletedOrders) -> None:
    ended = [each for each in gateway.book.state.orders if each.status in DONE]
    for order in ended[-(gateway.settings.ended or len(ended)) :]:
        if order.client_id != BY_HAND or not request.api_only:
            each = gateway.instruments[order.con_id]
            session.say(layouts.completed_order(order, each, session.version))
    session.say(layouts.completed_orders_end())


ANSWERS: dict[type[Request], Callable[[Gateway, Session, Any], None]] = {
    asked.PlaceOrder: _place,
    asked.CancelOrder: _cancel,
    asked.ReqGlobalCancel: _cancel_all,
    asked.ReqOpenOrders: _open_orders,
    asked.ReqAllOpenOrders: _all_open_orders,
    asked.ReqAutoOpenOrders: _bind,
    asked.ReqCompletedOrders: _completed,
}
