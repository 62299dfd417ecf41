"""Goes through a gateway with ib_insync or ib_async, and prints what came, as JSON.

    python asyncio_tour.py ib_insync 4002

It needs markets that walk, and a symbol without live data: XAUUSD.
"""

import asyncio
import importlib
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

CLIENT_ID = 7
PATIENCE_S = 20


class Undecoded(logging.Handler):
    """Keeps what the library only logs: errors of its decoder, and exceptions in callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that tells of an exception."""
        if record.exc_info or record.name.endswith("Decoder"):
            self.texts.append(f"{record.getMessage()} {record.exc_info}")


class Tour:
    """One connection, and what came over it."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.ib = library.IB()
        self.calls: Counter[str] = Counter()
        self.codes: list[int] = []
        self.seen: dict[str, object] = {}
        self._record(self.ib.wrapper)
        self.ib.errorEvent += self._on_error

    def _record(self, wrapper: Any) -> None:
        for name in dir(type(wrapper)):
            if not name.startswith("_") and callable(getattr(wrapper, name)):
                setattr(wrapper, name, self._recording(name, getattr(wrapper, name)))

    def _recording(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            return method(*args, **kwargs)

        return record

    def _on_error(self, req_id: int, code: int, text: str, contract: Any) -> None:
        self.codes.append(code)

    async def run(self, port: int) -> None:
        """All of it."""
        await self.ib.connectAsync("127.0.0.1", port, clientId=CLIENT_ID, timeout=PATIENCE_S)
        self.seen["version"] = self.ib.client.serverVersion()
        await self.contracts()
        await self.quotes()
        await self.history()
        await self.orders()
        await self.accounts()
        self.ib.disconnect()

    async def until(self, what: Callable[[], object]) -> None:
        """Wait for something that comes with a message."""
        async with asyncio.timeout(PATIENCE_S):
            while not what():
                await self.ib.updateEvent

    async def contracts(self) -> None:
        """Details, search, rules and chains."""
        make = self.library
        details = {}
        for each in (
            make.Stock("AAPL", "SMART", "USD"),
            make.Future("ES", exchange="CME"),
            make.Forex("EURUSD"),
            make.Index("SPX", "CBOE"),
            make.Contract(symbol="BTC", secType="CRYPTO", exchange="PAXOS", currency="USD"),
            make.Commodity("XAUUSD", "SMART", "USD"),
            make.Option("SPY", strike=500, right="C", exchange="SMART"),
            make.Stock("ASML", "AEB", "EUR"),
        ):
            details[each.symbol] = await self.ib.reqContractDetailsAsync(each)
        self.details = details
        self.seen["expiries"] = len(details["ES"])
        self.seen["ambiguous"] = len(
            await self.ib.reqContractDetailsAsync(make.Stock("SAN", "SMART"))
        )
        self.seen["symbols"] = [
            each.contract.symbol for each in await self.ib.reqMatchingSymbolsAsync("apple")
        ]
        rule = int(details["ASML"][0].marketRuleIds.split(",")[1])
        self.seen["bands"] = len(await self.ib.reqMarketRuleAsync(rule))
        spy = details["SPY"][0].underConId
        chains = await self.ib.reqSecDefOptParamsAsync("SPY", "", "STK", spy)
        self.seen["strikes"] = len(chains[0].strikes)

    async def quotes(self) -> None:
        """Streams, snapshots, delayed ones, and every tick."""
        aapl, gold = self.details["AAPL"][0].contract, self.details["XAUUSD"][0].contract
        ticker = self.ib.reqMktData(aapl, "233")
        await self.until(lambda: ticker.bid > 0 and ticker.last > 0 and ticker.rtVolume > 0)
        self.ib.cancelMktData(aapl)
        option = self.details["SPY"][0].contract
        snapshot = self.ib.reqMktData(option, snapshot=True)
        await self.until(lambda: self.calls["tickSnapshotEnd"] and snapshot.bid > 0)
        self.ib.reqMarketDataType(3)
        delayed = self.ib.reqMktData(gold)
        await self.until(lambda: delayed.bid > 0)
        self.seen["delayed"] = delayed.marketDataType
        self.ib.cancelMktData(gold)
        for kind in ("Last", "AllLast", "BidAsk", "MidPoint"):
            name = "tickByTickAllLast" if "Last" in kind else f"tickByTick{kind}"
            self.calls[name] = 0
            self.ib.reqTickByTickData(aapl, kind)
            await self.until(partial(self.calls.get, name))
            self.ib.cancelTickByTickData(aapl, kind)

    async def history(self) -> None:
        """Bars, head, ticks, and bars that go on."""
        aapl, future = self.details["AAPL"][0].contract, self.details["ES"][0].contract
        for name, contract, form in (("bars", aapl, 1), ("epoch", future, 2)):
            got = await self.ib.reqHistoricalDataAsync(
                contract, "", "1800 S", "1 min", "TRADES", False, form
            )
            self.seen[name] = [str(got[0].date), len(got)]
        days = await self.ib.reqHistoricalDataAsync(future, "", "5 D", "1 day", "TRADES", True)
        self.seen["days"] = len(days)
        head = await self.ib.reqHeadTimeStampAsync(aapl, "TRADES", True, 1)
        self.seen["head"] = str(head)
        for what in ("TRADES", "BID_ASK", "MIDPOINT"):
            ticks = await self.ib.reqHistoricalTicksAsync(
                aapl, "", "20261120 15:00:00", 10, what, True
            )
            self.seen[what] = len(ticks)
        kept = await self.ib.reqHistoricalDataAsync(
            aapl, "", "600 S", "1 min", "TRADES", False, 1, True
        )
        await self.until(lambda: self.calls["historicalDataUpdate"])
        self.ib.cancelHistoricalData(kept)
        live = self.ib.reqRealTimeBars(aapl, 5, "TRADES", False)
        await self.until(lambda: len(live))
        self.ib.cancelRealTimeBars(live)

    async def orders(self) -> None:
        """One that fills in parts, one that rests and is modified and cancelled, one refused."""
        make, aapl = self.library, self.details["AAPL"][0].contract
        bought = self.ib.placeOrder(aapl, make.MarketOrder("BUY", 250, tif="DAY", orderRef="parts"))
        await self.until(lambda: len(bought.fills) == 3 and bought.isDone())
        self.seen["fills"] = [float(fill.execution.shares) for fill in bought.fills]
        await self.until(lambda: all(fill.commissionReport.execId for fill in bought.fills))
        resting = make.LimitOrder("BUY", 10, 100, tif="GTC", orderRef="rests")
        rests = self.ib.placeOrder(aapl, resting)
        await self.until(lambda: rests.orderStatus.status == "Submitted")
        openings = self.calls["openOrder"]
        resting.lmtPrice = 101
        self.ib.placeOrder(aapl, resting)
        await self.until(lambda: self.calls["openOrder"] > openings)
        open_now = await self.ib.reqAllOpenOrdersAsync()
        self.seen["open"] = [float(each.order.lmtPrice) for each in open_now]
        await self.ib.reqOpenOrdersAsync()
        self.ib.cancelOrder(resting)
        await self.until(lambda: rests.orderStatus.status == "Cancelled" and 202 in self.codes)
        off = make.LimitOrder("BUY", 10, 100.001, tif="DAY", orderRef="refused")
        self.ib.placeOrder(aapl, off)
        await self.until(lambda: 110 in self.codes)
        state = await self.ib.whatIfOrderAsync(aapl, make.MarketOrder("BUY", 1, tif="DAY"))
        self.seen["margin"] = float(state.initMarginAfter) > 0

    async def accounts(self) -> None:
        """Orders that ended, executions, positions, values, the time."""
        done = await self.ib.reqCompletedOrdersAsync(False)
        self.seen["completed"] = sorted(each.orderStatus.status for each in done)
        self.seen["executions"] = len(await self.ib.reqExecutionsAsync())
        self.seen["positions"] = [float(p.position) for p in await self.ib.reqPositionsAsync()]
        summary = await self.ib.accountSummaryAsync()
        self.seen["summary"] = len(summary) > 0
        self.seen["time"] = str(await self.ib.reqCurrentTimeAsync())


def main() -> None:
    """Run, and print."""
    undecoded = Undecoded()
    logging.getLogger().addHandler(undecoded)
    tour = Tour(importlib.import_module(sys.argv[1]))
    asyncio.run(tour.run(int(sys.argv[2])))
    print(
        json.dumps(
            {
                "calls": sorted(tour.calls),
                "codes": sorted(set(tour.codes)),
                "undecoded": undecoded.texts,
                "seen": tour.seen,
            }
        )
    )


main()
