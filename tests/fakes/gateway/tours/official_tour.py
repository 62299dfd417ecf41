"""Goes through a gateway with the official library, old or new, and prints what came, as JSON.

    python official_tour.py 4002

It needs markets that walk, and a symbol without live data: XAUUSD.
"""

import importlib
import json
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

CLIENT_ID = 7
PATIENCE_S = 20
PACE_S = 0.03
"""Between two requests: fifty in a second are too many."""
NO_OPTIONS: list[object] = []


class Undecoded(logging.Handler):
    """Keeps what the library only logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.texts.append(record.getMessage())

    def take(self, failed: threading.ExceptHookArgs) -> None:
        """Keep what ended the library's thread."""
        self.texts.append(repr(failed.exc_value))


class Calls:
    """The callbacks that came, with what they brought."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.all: list[tuple[str, tuple[Any, ...]]] = []

    def add(self, name: str, args: tuple[Any, ...]) -> None:
        """One came."""
        with self.changed:
            self.all.append((name, args))
            self.changed.notify_all()

    def of(self, *names: str) -> list[tuple[Any, ...]]:
        """What those of one name brought."""
        return [args for name, args in self.all if name in names]

    def until(self, what: Callable[[], object]) -> None:
        """Wait for something."""
        with self.changed:
            assert self.changed.wait_for(what, PATIENCE_S), Counter(name for name, _ in self.all)

    @property
    def codes(self) -> list[int]:
        """Of errors: the first number of three digits or more; newer libraries have a time, too."""
        return [int(args[1] if isinstance(args[2], str) else args[2]) for args in self.of("error")]


def recorder(calls: Calls) -> Any:
    """A client and wrapper in one, whose callbacks are all recorded."""
    client, wrapper = module("client").EClient, module("wrapper").EWrapper
    names = [name for name in vars(wrapper) if not name.startswith("_") and name != "logAnswer"]

    def recording(name: str) -> Callable[..., None]:
        def record(self: Any, *args: Any) -> None:
            calls.add(name, args)

        return record

    kind = type("Recorder", (wrapper, client), {name: recording(name) for name in names})
    made = kind()
    client.__init__(made, made)
    return made


def module(name: str) -> Any:
    """One of the library's modules."""
    return importlib.import_module(f"ibapi.{name}")


def contract(**fields: object) -> Any:
    """A contract."""
    made = module("contract").Contract()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def order(action: str, size: float, kind: str, **fields: object) -> Any:
    """An order."""
    made = module("order").Order()
    made.eTradeOnly = made.firmQuoteOnly = False
    known = {"action": action, "totalQuantity": size, "orderType": kind}
    for name, value in (known | fields).items():
        setattr(made, name, value)
    return made


AAPL = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
GOLD = {"symbol": "XAUUSD", "secType": "CMDTY", "exchange": "SMART", "currency": "USD"}
CONTRACTS: tuple[dict[str, object], ...] = (
    dict(AAPL),
    {"symbol": "ES", "secType": "FUT", "exchange": "CME"},
    {"symbol": "EUR", "secType": "CASH", "exchange": "IDEALPRO", "currency": "USD"},
    {"symbol": "SPX", "secType": "IND", "exchange": "CBOE"},
    {"symbol": "BTC", "secType": "CRYPTO", "exchange": "PAXOS"},
    dict(GOLD),
    {"symbol": "SPY", "secType": "OPT", "exchange": "SMART", "strike": 500.0, "right": "C"},
    {"symbol": "SAN", "secType": "STK", "exchange": "SMART"},
)


class Tour:
    """One connection."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.client = recorder(self.calls)
        self.seen: dict[str, object] = {}
        self.last_id = 1000

    def ask(self, method: str, *args: object, answer: str = "", count: int = 1) -> None:
        """Call a method of the client, and wait for so many callbacks of a name."""
        time.sleep(PACE_S)
        before = len(self.calls.of(answer))
        getattr(self.client, method)(*args)
        if answer:
            self.calls.until(lambda: len(self.calls.of(answer)) >= before + count)

    def new_id(self) -> int:
        """A request id."""
        self.last_id += 1
        return self.last_id

    def run(self, port: int) -> None:
        """All of it."""
        self.client.connect("127.0.0.1", port, CLIENT_ID)
        thread = threading.Thread(target=self.client.run)
        thread.start()
        self.calls.until(lambda: self.calls.of("nextValidId") and self.calls.of("managedAccounts"))
        self.seen["version"] = self.client.serverVersion()
        try:
            self.contracts()
            self.quotes()
            self.history()
            self.orders()
            self.accounts()
        finally:
            self.client.disconnect()
            thread.join()

    def contracts(self) -> None:
        """Details, search, rules and chains."""
        for each in CONTRACTS:
            wanted = contract(**each)
            self.ask("reqContractDetails", self.new_id(), wanted, answer="contractDetailsEnd")
        details = [args[1] for args in self.calls.of("contractDetails")]
        self.seen["expiries"] = sum(each.contract.symbol == "ES" for each in details)
        self.seen["ambiguous"] = sum(each.contract.symbol == "SAN" for each in details)
        self.option = next(each.contract for each in details if each.contract.symbol == "SPY")
        self.future = next(each.contract for each in details if each.contract.symbol == "ES")
        self.ask("reqMatchingSymbols", self.new_id(), "apple", answer="symbolSamples")
        found = self.calls.of("symbolSamples")[-1][1]
        self.seen["symbols"] = [each.contract.symbol for each in found]
        self.ask("reqMarketRule", 1870, answer="marketRule")
        self.seen["bands"] = len(self.calls.of("marketRule")[-1][1])
        chain = ("SPY", "", "STK", 756733)
        end = "securityDefinitionOptionParameterEnd"
        self.ask("reqSecDefOptParams", self.new_id(), *chain, answer=end)
        self.seen["strikes"] = len(self.calls.of(end.removesuffix("End"))[0][-1])

    def quotes(self) -> None:
        """Streams, snapshots, delayed ones, and every tick."""
        stream = self.new_id()
        aapl, plain = contract(**AAPL), (False, False, NO_OPTIONS)
        self.ask("reqMktData", stream, aapl, "233", *plain, answer="tickPrice", count=9)
        self.calls.until(lambda: self.calls.of("tickString"))
        self.ask("cancelMktData", stream)
        snapshot = ("", True, False, NO_OPTIONS)
        self.ask("reqMktData", self.new_id(), self.option, *snapshot, answer="tickSnapshotEnd")
        self.ask("reqMarketDataType", 3)
        delayed = self.new_id()
        gold = contract(**GOLD)
        self.ask("reqMktData", delayed, gold, "", *plain, answer="marketDataType")
        self.seen["delayed"] = self.calls.of("marketDataType")[-1][1]
        self.calls.until(lambda: any(a[1] == 66 for a in self.calls.of("tickPrice")))
        self.ask("cancelMktData", delayed)
        for kind, name in (
            ("Last", "tickByTickAllLast"),
            ("AllLast", "tickByTickAllLast"),
            ("BidAsk", "tickByTickBidAsk"),
            ("MidPoint", "tickByTickMidPoint"),
        ):
            req_id = self.new_id()
            self.ask("reqTickByTickData", req_id, aapl, kind, 0, False, answer=name)
            self.ask("cancelTickByTickData", req_id)

    def history(self) -> None:
        """Bars, head, ticks, and bars that go on."""
        aapl, end = contract(**AAPL), "historicalDataEnd"
        minute = ("", "1800 S", "1 min", "TRADES", 0)
        for name, each, form in (("bars", aapl, 1), ("epoch", self.future, 2)):
            before = len(self.calls.of("historicalData"))
            args = (self.new_id(), each, *minute, form, False, NO_OPTIONS)
            self.ask("reqHistoricalData", *args, answer=end)
            bars = self.calls.of("historicalData")[before:]
            self.seen[name] = [bars[0][1].date, len(bars)]
        before = len(self.calls.of("historicalData"))
        days = (self.new_id(), self.future, "", "5 D", "1 day", "TRADES", 1, 1, False, NO_OPTIONS)
        self.ask("reqHistoricalData", *days, answer=end)
        self.seen["days"] = len(self.calls.of("historicalData")) - before
        head = (self.new_id(), aapl, "TRADES", 1, 1)
        self.ask("reqHeadTimeStamp", *head, answer="headTimestamp")
        self.seen["head"] = self.calls.of("headTimestamp")[0][1]
        for what, name in (
            ("TRADES", "historicalTicksLast"),
            ("BID_ASK", "historicalTicksBidAsk"),
            ("MIDPOINT", "historicalTicks"),
        ):
            span = ("", "20261120 15:00:00 US/Eastern", 10, what, 1, False, NO_OPTIONS)
            self.ask("reqHistoricalTicks", self.new_id(), aapl, *span, answer=name)
            self.seen[what] = len(self.calls.of(name)[-1][1])
        kept = self.new_id()
        args = (kept, aapl, "", "600 S", "1 min", "TRADES", 0, 1, True, NO_OPTIONS)
        self.ask("reqHistoricalData", *args, answer="historicalDataUpdate")
        self.ask("cancelHistoricalData", kept, answer="error")
        live = self.new_id()
        self.ask(
            "reqRealTimeBars", live, aapl, 5, "TRADES", False, NO_OPTIONS, answer="realtimeBar"
        )
        self.ask("cancelRealTimeBars", live)

    def orders(self) -> None:
        """One that fills in parts, one that rests and is modified and cancelled, one refused."""
        aapl, first = contract(**AAPL), self.calls.of("nextValidId")[0][0]
        parts = order("BUY", 250, "MKT", tif="DAY", orderRef="parts")
        reports = ("commissionReport", "commissionAndFeesReport")
        self.ask("placeOrder", first, aapl, parts)
        self.calls.until(lambda: len(self.calls.of(*reports)) == 3)
        self.seen["fills"] = [float(args[2].shares) for args in self.calls.of("execDetails")]
        rests = order("BUY", 10, "LMT", tif="GTC", orderRef="rests", lmtPrice=100)
        self.ask("placeOrder", first + 1, aapl, rests, answer="orderStatus", count=2)
        rests.lmtPrice = 101
        self.ask("placeOrder", first + 1, aapl, rests, answer="orderStatus")
        before = len(self.calls.of("openOrder"))
        self.ask("reqAllOpenOrders", answer="openOrderEnd")
        self.seen["open"] = [float(a[2].lmtPrice) for a in self.calls.of("openOrder")[before:]]
        self.ask("reqOpenOrders", answer="openOrderEnd")
        self.ask("cancelOrder", first + 1, *self.cancel_terms(), answer="error")
        off = order("BUY", 10, "LMT", tif="DAY", orderRef="refused", lmtPrice=100.001)
        self.ask("placeOrder", first + 2, aapl, off, answer="error")
        what_if = order("BUY", 1, "MKT", tif="DAY", whatIf=True)
        self.ask("placeOrder", first + 3, aapl, what_if, answer="openOrder")
        state = self.calls.of("openOrder")[-1][3]
        self.seen["margin"] = float(state.initMarginAfter) > 0

    def cancel_terms(self) -> tuple[object, ...]:
        """What the newer library wants to be told of a cancellation."""
        try:
            return (module("order_cancel").OrderCancel(),)
        except ImportError:
            return ()

    def accounts(self) -> None:
        """Orders that ended, executions, positions, values, the time."""
        self.ask("reqCompletedOrders", False, answer="completedOrdersEnd")
        completed = self.calls.of("completedOrder")
        self.seen["completed"] = sorted(args[2].status for args in completed)
        before = len(self.calls.of("execDetails"))
        wanted = module("execution").ExecutionFilter()
        self.ask("reqExecutions", self.new_id(), wanted, answer="execDetailsEnd")
        self.seen["executions"] = len(self.calls.of("execDetails")) - before
        self.ask("reqPositions", answer="positionEnd")
        self.seen["positions"] = [float(args[2]) for args in self.calls.of("position")]
        summary = self.new_id()
        tags = "NetLiquidation,BuyingPower"
        self.ask("reqAccountSummary", summary, "All", tags, answer="accountSummaryEnd")
        self.ask("cancelAccountSummary", summary)
        self.seen["summary"] = len(self.calls.of("accountSummary")) > 0
        multi = self.new_id()
        self.ask("reqAccountUpdatesMulti", multi, "", "", False, answer="accountUpdateMultiEnd")
        self.ask("reqAccountUpdates", True, "DU1234567", answer="accountDownloadEnd")
        self.ask("reqCurrentTime", answer="currentTime")
        self.ask("reqIds", -1, answer="nextValidId")
        self.seen["next id"] = self.calls.of("nextValidId")[-1][0]


def main() -> None:
    """Run, and print."""
    undecoded = Undecoded()
    logging.getLogger().addHandler(undecoded)
    threading.excepthook = undecoded.take
    tour = Tour()
    tour.run(int(sys.argv[1]))
    print(
        json.dumps(
            {
                "calls": sorted({name for name, _ in tour.calls.all}),
                "codes": sorted(set(tour.calls.codes)),
                "undecoded": undecoded.texts,
                "seen": tour.seen,
            }
        )
    )


main()
