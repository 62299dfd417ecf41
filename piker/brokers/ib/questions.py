"""What is asked of a gateway: what the answer is made of, and how it waits for its turn."""

from piker.brokers.ib.messages import (
    AskAccount,
    AskBars,
    AskCompletedOrders,
    AskContracts,
    AskExecutions,
    AskHead,
    AskIds,
    AskOpenOrders,
    AskPositions,
    AskRule,
    AskSymbols,
    AskTime,
    Bars,
    CancelEverything,
    CancelOrder,
    End,
    EndedOrder,
    Ends,
    HeadIs,
    Holds,
    NextId,
    OrderIs,
    PlaceOrder,
    Request,
    Rule,
    Said,
    Samples,
    StatusIs,
    TimeIs,
    WatchQuotes,
    WatchTicks,
)
from piker.brokers.ib.pacing import Needs, Past, Symbols, Ticks, Urgency

Asked = (
    AskTime
    | AskIds
    | AskRule
    | AskOpenOrders
    | AskCompletedOrders
    | AskPositions
    | AskContracts
    | AskSymbols
    | AskBars
    | AskHead
    | AskExecutions
    | AskAccount
)
SUBJECTS: dict[type, str] = {
    AskTime: "its clock",
    AskIds: "the next order id",
    AskRule: "the price bands of a market",
    AskOpenOrders: "open orders",
    AskCompletedOrders: "ended orders",
    AskPositions: "positions",
    AskContracts: "contracts",
    AskSymbols: "symbols",
    AskBars: "bars",
    AskHead: "the beginning of its history",
    AskExecutions: "executions",
    AskAccount: "the values of an account",
}
"""What is asked for, in words for people."""
UNNUMBERED = (AskTime, AskIds, AskRule, AskOpenOrders, AskCompletedOrders, AskPositions)
WHOLE: dict[type, type | Ends] = {
    AskTime: TimeIs,
    AskIds: NextId,
    AskRule: Rule,
    AskSymbols: Samples,
    AskBars: Bars,
    AskHead: HeadIs,
    AskOpenOrders: "open orders",
    AskCompletedOrders: "completed orders",
    AskPositions: "positions",
    AskContracts: "contracts",
    AskExecutions: "executions",
    AskAccount: "account",
}
"""What makes an answer whole: a word, or the end of several."""
PARTS: dict[type, tuple[type, ...]] = {
    AskOpenOrders: (OrderIs, StatusIs),
    AskCompletedOrders: (EndedOrder,),
    AskPositions: (Holds,),
}
"""What an answer without a number is made of, before its end."""


def ends(request: Asked, said: Said) -> bool:
    """Whether with this word the answer is whole."""
    whole = WHOLE[type(request)]
    if isinstance(whole, str):
        return isinstance(said, End) and said.of == whole
    return isinstance(said, whole)


def is_part(request: Asked, said: Said) -> bool:
    """Whether a word without a number belongs to the answer."""
    if isinstance(request, AskRule) and isinstance(said, Rule):
        return said.rule_id == request.rule_id
    return isinstance(said, PARTS.get(type(request), ())) or ends(request, said)


def manners(request: Request) -> tuple[Urgency, Needs]:
    """How urgent a message is, and which rules are for it beside those for all."""
    match request:
        case CancelOrder() | CancelEverything():
            return Urgency.CANCEL, None
        case PlaceOrder():
            return Urgency.ORDER, None
        case AskBars(contract=contract, what=what):
            series = (contract.con_id or contract, contract.exchange, what)
            cost = 2 if what == "BID_ASK" else 1
            return Urgency.HISTORY, Past(identical=request, series=series, cost=cost)
        case AskHead():
            return Urgency.HISTORY, None
        case AskSymbols():
            return Urgency.SEARCH, Symbols()
        case AskContracts() | AskRule():
            return Urgency.SEARCH, None
        case WatchTicks(contract=contract, kind=kind):
            return Urgency.QUOTES, Ticks(instrument=(contract.con_id or contract, kind))
        case WatchQuotes():
            return Urgency.QUOTES, None
        case _:
            return Urgency.CONTROL, None
