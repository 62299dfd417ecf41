"""The three long messages of orders, as tables: placeOrder, openOrder and completedOrder.

A row has a condition and the names of fields. The names are those of the official API. Values after
``=`` are what a real gateway sent at version 176 for a plain limit order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from tests.fakes.gateway.wire import (
    UNSET_DOUBLE,
    UNSET_INTEGER,
    Cursor,
    Message,
    NotTheProtocol,
    text,
)

Read = Mapping[str, str]
Condition = Callable[[Read, int], bool]
Table = tuple[tuple[Condition, str], ...]


def _always(read: Read, version: int) -> bool:
    return True


def _before(limit: int) -> Condition:
    return lambda read, version: version < limit


def _since(limit: int) -> Condition:
    return lambda read, version: version >= limit


def _given(name: str) -> Condition:
    return lambda read, version: read[name] != ""


def _is(name: str, *values: str) -> Condition:
    return lambda read, version: read[name] in values


def _scaled(read: Read, version: int) -> bool:
    return 0 < float(read["scalePriceIncrement"] or 0) < float(UNSET_DOUBLE)


def _beside_ats(read: Read, version: int) -> bool:
    return version >= 170 and read["exchange"] == "IBKRATS"


def _pegged(*kinds: str) -> Condition:
    return lambda read, version: version >= 170 and read["orderType"] in kinds


CONTRACT = (
    "conId symbol secType lastTradeDateOrContractMonth strike right multiplier exchange"
    " primaryExchange currency localSymbol tradingClass"
)

PLACE: Table = (
    (_always, CONTRACT),
    (
        _always,
        (
            "secIdType secId action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account"
            " openClose origin orderRef transmit parentId blockOrder sweepToFill displaySize"
            " triggerMethod outsideRth hidden sharesAllocation discretionaryAmt goodAfterTime"
            " goodTillDate faGroup faMethod faPercentage"
        ),
    ),
    (_before(177), "faProfile"),
    (
        _always,
        (
            "modelCode shortSaleSlot designatedLocation exemptCode ocaType rule80A settlingFirm"
            " allOrNone minQty percentOffset eTradeOnly firmQuoteOnly nbboPriceCap auctionStrategy"
            " startingPrice stockRefPrice delta stockRangeLower stockRangeUpper"
            " overridePercentageConstraints volatility volatilityType deltaNeutralOrderType"
            " deltaNeutralAuxPrice"
        ),
    ),
    (
        _given("deltaNeutralOrderType"),
        (
            "dnConId dnSettlingFirm dnClearingAccount dnClearingIntent dnOpenClose dnShortSale"
            " dnShortSaleSlot dnDesignatedLocation"
        ),
    ),
    (
        _always,
        (
            "continuousUpdate referencePriceType trailStopPrice trailingPercent scaleInitLevelSize"
            " scaleSubsLevelSize scalePriceIncrement"
        ),
    ),
    (
        _scaled,
        (
            "scalePriceAdjustValue scalePriceAdjustInterval scaleProfitOffset scaleAutoReset"
            " scaleInitPosition scaleInitFillQty scaleRandomPercent"
        ),
    ),
    (_always, "scaleTable activeStartTime activeStopTime hedgeType"),
    (_given("hedgeType"), "hedgeParam"),
    (_always, "optOutSmartRouting clearingAccount clearingIntent notHeld deltaNeutralContract"),
    (_is("deltaNeutralContract", "1"), "dncConId dncDelta dncPrice"),
    (_always, "algoStrategy"),
    (_given("algoStrategy"), "algoParams*2"),
    (_always, "algoId whatIf miscOptions solicited randomizeSize randomizePrice"),
    (
        _is("orderType", "PEG BENCH", "PEGBENCH"),
        (
            "referenceContractId isPeggedChangeAmountDecrease peggedChangeAmount"
            " referenceChangeAmount referenceExchangeId"
        ),
    ),
    (_always, "conditions*0"),
    (
        _always,
        (
            "adjustedOrderType triggerPrice lmtPriceOffset adjustedStopPrice"
            " adjustedStopLimitPrice adjustedTrailingAmount adjustableTrailingUnit extOperator"
            " softDollarName softDollarVal cashQty mifid2DecisionMaker mifid2DecisionAlgo"
            " mifid2ExecutionTrader mifid2ExecutionAlgo dontUseAutoPriceForHedge isOmsContainer"
            " discretionaryUpToLimitPrice usePriceMgmtAlgo"
        ),
    ),
    (_since(158), "duration"),
    (_since(160), "postToAts"),
    (_since(162), "autoCancelParent"),
    (_since(166), "advancedErrorOverride"),
    (_since(169), "manualOrderTime"),
    (_beside_ats, "minTradeQty"),
    (_pegged("PEG BEST", "PEGBEST"), "minCompeteSize competeAgainstBestOffset"),
    (_pegged("PEG MID", "PEGMID"), "midOffsetAtWhole midOffsetAtHalf"),
)

_ORDER_CONTRACT = (
    "conId symbol secType lastTradeDateOrContractMonth strike=0 right=? multiplier exchange"
    " currency localSymbol tradingClass"
)
_ORDER_HEAD = (
    "action totalQuantity orderType lmtPrice=0.0 auxPrice=0.0 tif ocaGroup account openClose"
    " origin=0 orderRef"
)
_BOX = "startingPrice stockRefPrice delta stockRangeLower stockRangeUpper displaySize=UNSET_INTEGER"
_FIRM = (
    "modelCode goodTillDate rule80A percentOffset settlingFirm shortSaleSlot=0 designatedLocation"
    " exemptCode=-1"
)
_VOLATILITY = "volatility volatilityType=0 deltaNeutralOrderType=None deltaNeutralAuxPrice"
_PEGS = (
    (
        _since(170),
        "minTradeQty minCompeteSize competeAgainstBestOffset midOffsetAtWhole midOffsetAtHalf",
    ),
)
_MARGINS = " ".join(
    f"{name}{when}=UNSET_DOUBLE"
    for when in ("Before", "Change", "After")
    for name in ("initMargin", "maintMargin", "equityWithLoan")
)

OPEN_ORDER: Table = (
    (_always, f"id=5 orderId {_ORDER_CONTRACT} {_ORDER_HEAD} clientId permId"),
    (_always, "outsideRth=0 hidden=0 discretionaryAmt=0 goodAfterTime sharesAllocation"),
    (_always, "faGroup faMethod faPercentage"),
    (_before(177), "faProfile"),
    (_always, f"{_FIRM} auctionStrategy=0 {_BOX} blockOrder=0 sweepToFill=0 allOrNone=0 minQty"),
    (_always, "ocaType=3 eTradeOnly=0 firmQuoteOnly=0 nbboPriceCap parentId=0 triggerMethod=0"),
    (_always, _VOLATILITY),
    (_always, "dnConId=0 dnSettlingFirm dnClearingAccount dnClearingIntent dnOpenClose=?"),
    (_always, "dnShortSale=0 dnShortSaleSlot=0 dnDesignatedLocation continuousUpdate=0"),
    (_always, "referencePriceType=0 trailStopPrice trailingPercent basisPoints basisPointsType"),
    (_always, "comboLegsDescrip nComboLegs=0 nOrderComboLegs=0 nSmartComboRoutingParams=0"),
    (_always, "scaleInitLevelSize=UNSET_INTEGER scaleSubsLevelSize=UNSET_INTEGER"),
    (_always, "scalePriceIncrement hedgeType optOutSmartRouting=0 clearingAccount"),
    (_always, "clearingIntent=IB notHeld=0 dncPresent=0 algoStrategy solicited=0 whatIf=0 status"),
    (_always, f"{_MARGINS} commission minCommission maxCommission commissionCurrency warningText"),
    (_always, "randomizeSize=0 randomizePrice=0 nConditions=0 adjustedOrderType=None"),
    (_always, "triggerPrice=UNSET_DOUBLE trailStopPrice2 lmtPriceOffset=UNSET_DOUBLE"),
    (_always, "adjustedStopPrice=UNSET_DOUBLE adjustedStopLimitPrice=UNSET_DOUBLE"),
    (_always, "adjustedTrailingAmount=UNSET_DOUBLE adjustableTrailingUnit=0 softDollarName"),
    (_always, "softDollarVal softDollarDisplay cashQty=0 dontUseAutoPriceForHedge=1"),
    (_always, "isOmsContainer=0 discretionaryUpToLimitPrice=0 usePriceMgmtAlgo=0"),
    (_since(159), "duration"),
    (_since(160), "postToAts"),
    (_since(162), "autoCancelParent=0"),
    *_PEGS,
)

COMPLETED_ORDER: Table = (
    (_always, f"id=101 {_ORDER_CONTRACT} {_ORDER_HEAD} permId outsideRth=0 hidden=0"),
    (_always, "discretionaryAmt=0 goodAfterTime faGroup faMethod faPercentage"),
    (_before(177), "faProfile"),
    (_always, f"{_FIRM} {_BOX} sweepToFill=0 allOrNone=0 minQty ocaType=3 triggerMethod=0"),
    (_always, f"{_VOLATILITY} dnConId=0 dnShortSale=0 dnShortSaleSlot=0 dnDesignatedLocation"),
    (_always, "continuousUpdate=0 referencePriceType=0 trailStopPrice trailingPercent"),
    (_always, "comboLegsDescrip nComboLegs=0 nOrderComboLegs=0 nSmartComboRoutingParams=0"),
    (_always, "scaleInitLevelSize=UNSET_INTEGER scaleSubsLevelSize=UNSET_INTEGER"),
    (_always, "scalePriceIncrement hedgeType clearingAccount clearingIntent=IB notHeld=0"),
    (_always, "dncPresent=0 algoStrategy solicited=0 status randomizeSize=0 randomizePrice=0"),
    (_always, "nConditions=0 trailStopPrice2 lmtPriceOffset=UNSET_DOUBLE cashQty=0"),
    (_always, "dontUseAutoPriceForHedge=1 isOmsContainer=0 autoCancelDate filledQuantity=0"),
    (_always, "refFuturesConId=0 autoCancelParent=0 shareholder=Not_an_insider_or_substantial"),
    (_always, "imbalanceOnly=0 routeMarketableToBbo=0 parentPermId=0 completedTime"),
    (_always, "completedStatus"),
    *_PEGS,
)

_WORDS = {
    "UNSET_DOUBLE": UNSET_DOUBLE,
    "UNSET_INTEGER": UNSET_INTEGER,
    "Not_an_insider_or_substantial": "Not an insider or substantial shareholder",
}


def read_placed(cursor: Cursor, version: int) -> dict[str, str]:
    """The fields of a placeOrder behind its order id, by their names."""
    read: dict[str, str] = {}
    for condition, names in PLACE:
        if condition(read, version):
            _read_row(cursor, names, read)
    return read


def _read_row(cursor: Cursor, names: str, read: dict[str, str]) -> None:
    for entry in names.split():
        name, _, each = entry.partition("*")
        read[name] = cursor.take(name)
        if each:
            _skip(cursor, name, int(read[name] or 0), int(each))


def _skip(cursor: Cursor, name: str, count: int, each: int) -> None:
    if count and not each:
        raise NotTheProtocol(f"expected no {name}, which this gateway doesn't play, was {count}")
    for _ in range(count * each):
        cursor.take(name)


def write_order(table: Table, values: Mapping[str, object], version: int) -> Message:
    """The fields of a message of one of these tables: the given values, else those in the table."""
    return tuple(_written(table, values, version))


def _written(table: Table, values: Mapping[str, object], version: int) -> Iterator[str]:
    said = defaultdict(str, {name: text(value) for name, value in values.items()})
    for condition, names in table:
        for entry in names.split() if condition(said, version) else ():
            name, _, usual = entry.partition("=")
            yield text(values[name]) if name in values else _WORDS.get(usual, usual)
