"""The one suite that every provider passes: `check_provider`."""

import os
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Any, Literal

import trio
from msgspec import Struct

from piker.brokers import (
    Batch,
    Batches,
    DaemonKind,
    Find,
    HistoryClient,
    Provider,
    Settings,
    Wanted,
    get_eps,
)
from piker.brokers.promises import (
    PAST,
    STREAM,
    Given,
    Heard,
    declaration_is_sound,
    frames_are_sound,
    market_is_sound,
    pace_is_sound,
)
from piker.brokers.trials import (
    Broken,
    Resolve,
    falls_silent,
    finds,
    gives_market,
    gives_past,
    hear,
    keeps_limit,
    lists,
    makes_up_no_past,
    same_market,
    unknown_is_refused,
)
from piker.errors import Refused
from piker.markets import Market

Stream = Callable[[Wanted, Batches], Awaitable[None]]
OpenHistory = Callable[[Market], AbstractAsyncContextManager[HistoryClient]]

Outcome = Literal["ok", "unsupported", "broken"]

ENDPOINTS: dict[DaemonKind, tuple[str, ...]] = {
    "datad": (
        "open_venue",
        "get_mkt_info",
        "stream_quotes",
        "open_symbol_search",
        "open_history_client",
    ),
    "brokerd": ("open_trade_dialog", "check_settings", "norm_trade"),
    "emsd": ("known_accounts",),
    "doctor": ("examine",),
}
NEEDED = ("open_venue", "get_mkt_info", "stream_quotes")
"""Without these a provider has no market data at all."""

MARKETS = 3
"""How many markets are tried where none are named."""

SILENT_S = 1.0
"""A feed of which nothing is wanted and that says nothing for so long has stopped."""

PROMPT_S = 1.0
"""A cancelled stream ends within this."""

QUEUED = 8
"""Batches that may wait to be heard; when they are so many the provider waits."""


class Result(Struct, frozen=True, kw_only=True):
    """What came of one check."""

    endpoint: str
    check: str
    outcome: Outcome
    detail: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """What came of all checks, in the order in which they were made."""

    provider: str
    results: tuple[Result, ...]

    @property
    def broken(self) -> tuple[Result, ...]:
        """The checks that failed; none: the provider keeps the contract."""
        return tuple(result for result in self.results if result.outcome == "broken")


async def check_provider(
    provider: Provider,
    settings: Settings | None = None,
    names: Sequence[str] = (),
    seconds: float = 5.0,
) -> Report:
    """Try on one provider, at its real venue, all that the contract says.

    `names` are markets to try; without any, the first that its search gives. Every wait ends after
    `seconds`: a provider that hangs is reported, not waited for, unless it shields itself from
    cancellation. Whatever it raises is in the report. Nothing else should run beside this: the
    tasks and file descriptors of the process are counted before and after.
    """
    suite = _Suite(provider, seconds)
    suite.judge("PROVIDER", "declaration", declaration_is_sound(provider, ENDPOINTS))
    endpoints = dict(suite.load())
    if all(name in endpoints for name in NEEDED):
        before = _held()
        try:
            await suite.check_venue(endpoints, settings, names)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises
            suite.note("open_venue", "opens and closes", "broken", _reason(error))
        suite.judge("open_venue", "leaves nothing", _left(before))
    return Report(provider=provider.name, results=tuple(suite.results))


@dataclass
class _Suite:
    """The checks of one provider and what has come of them. No method raises what a check does."""

    provider: Provider
    seconds: float
    results: list[Result] = field(default_factory=list)

    def note(self, endpoint: str, check: str, outcome: Outcome, detail: str = "") -> None:
        self.results.append(Result(endpoint=endpoint, check=check, outcome=outcome, detail=detail))

    def judge(self, endpoint: str, check: str, complaints: Iterable[str]) -> None:
        """Note the first complaint of any number; to judge may fail on what has no sense."""
        try:
            first = next(iter(complaints), "")
        except Exception as error:  # noqa: BLE001 - a provider may have said anything
            first = _reason(error)
        self.note(endpoint, check, "broken" if first else "ok", first)

    async def attempt(self, endpoint: str, check: str, trial: Callable[[], Awaitable[str]]) -> None:
        """Note what came of a trial."""
        try:
            with trio.fail_after(self.seconds):
                detail = await trial()
        except trio.TooSlowError:
            self.note(endpoint, check, "broken", f"not done within {self.seconds:g} s")
        except Exception as error:  # noqa: BLE001 - whatever a provider raises
            self.note(endpoint, check, "broken", _reason(error))
        else:
            self.note(endpoint, check, "ok", detail)

    def load(self) -> Iterator[tuple[str, Any]]:
        """Load every endpoint that is declared."""
        for kind, names in ENDPOINTS.items():
            declared = self.provider.endpoints.get(kind, {})
            for name in names:
                if name in declared:
                    yield from self._load_one(kind, name, declared[name])
                else:
                    self.note(name, "loads", _absent(name, declared))

    def _load_one(self, kind: DaemonKind, name: str, where: str) -> Iterator[tuple[str, Any]]:
        try:
            loaded = get_eps(replace(self.provider, endpoints={kind: {name: where}}), kind)
        except Refused as no:
            self.note(name, "loads", "broken", _reason(no))
        else:
            self.note(name, "loads", "ok")
            yield from loaded.items()

    async def check_venue(
        self, endpoints: Mapping[str, Any], settings: Settings | None, names: Sequence[str]
    ) -> None:
        """All that needs the venue."""
        opening = endpoints["open_venue"](settings or self.provider.settings())
        async with self._opened("open_venue", opening) as venue:
            if "open_symbol_search" in endpoints:
                names = await self._check_search(endpoints["open_symbol_search"](venue), names)
            markets = await self._check_markets(partial(endpoints["get_mkt_info"], venue), names)
            if markets and "open_history_client" in endpoints:
                await self._check_history(partial(endpoints["open_history_client"], venue), markets)
            if markets:
                await self._check_stream(partial(endpoints["stream_quotes"], venue), markets)
            else:
                self.note("stream_quotes", "streams", "unsupported", "no market to try: name one")

    @asynccontextmanager
    async def _opened(
        self, endpoint: str, opening: AbstractAsyncContextManager[Any]
    ) -> AsyncIterator[Any]:
        """What an endpoint opens. To open and to close are bounded. Raises what it raises."""
        with trio.CancelScope(deadline=trio.current_time() + self.seconds) as waiting:
            async with opening as opened:
                waiting.deadline = inf
                self.note(endpoint, "opens", "ok")
                yield opened
                waiting.deadline = trio.current_time() + self.seconds
        if waiting.cancelled_caught:
            raise Broken(f"not done within {self.seconds:g} s")

    async def _check_search(
        self, opening: AbstractAsyncContextManager[Find], names: Sequence[str]
    ) -> Sequence[str]:
        """Gives the names, or some that it finds where there are none."""
        found = list(names)
        attempt = partial(self.attempt, "open_symbol_search")
        try:
            async with self._opened("open_symbol_search", opening) as find:
                if not names:
                    await attempt("lists markets", partial(lists, find, MARKETS, found))
                for name in found[:1]:
                    await attempt("finds a market by its name", partial(finds, find, name))
                    await attempt("keeps the limit", partial(keeps_limit, find, name))
        except Exception as error:  # noqa: BLE001 - whatever a provider raises
            self.note("open_symbol_search", "opens and closes", "broken", _reason(error))
        return found

    async def _check_markets(self, get: Resolve, names: Sequence[str]) -> list[Market]:
        """Gives the markets that have these names."""
        markets: list[Market] = []
        attempt = partial(self.attempt, "get_mkt_info")
        for name in names:
            await attempt("gives a market", partial(gives_market, get, name, markets))
        for market in markets:
            complaints = market_is_sound(market, self.provider)
            self.judge("get_mkt_info", f"describes {market.fqme}", complaints)
        for fqme in [market.fqme for market in markets[:1]]:
            bare = fqme.removesuffix(f".{self.provider.name}")
            await attempt("in any case", partial(same_market, get, fqme.upper(), fqme))
            await attempt("without the provider", partial(same_market, get, bare, fqme))
        unknown = f"no-such-thing.nowhere.{self.provider.name}"
        await attempt("refuses an unknown name", partial(unknown_is_refused, get, unknown))
        return markets

    async def _check_history(self, opened: OpenHistory, markets: Sequence[Market]) -> None:
        for market in markets:
            try:
                async with self._opened("open_history_client", opened(market)) as client:
                    await self._check_past(client, market)
            except Exception as error:  # noqa: BLE001 - whatever a provider raises
                self.note("open_history_client", "opens and closes", "broken", _reason(error))

    async def _check_past(self, client: HistoryClient, market: Market) -> None:
        """Its newest frames, and one of before anybody's first data."""
        complaints = frames_are_sound(client.frames)
        self.judge("open_history_client", "says its periods and frames", complaints)
        complaints = pace_is_sound(getattr(client, "pace", None))
        self.judge("open_history_client", "says its pace", complaints)
        attempt = partial(self.attempt, "open_history_client")
        for period_s in client.frames:
            given: list[Given] = []
            await attempt(
                f"gives bars of {period_s} s", partial(gives_past, client, market, period_s, given)
            )
            for each in given:
                self._judge_past(each)
        await attempt("makes up no past", partial(makes_up_no_past, client))

    def _judge_past(self, given: Given) -> None:
        for check, complaints in PAST.items():
            self.judge("open_history_client", check, complaints(given))

    async def _check_stream(self, stream: Stream, markets: Sequence[Market]) -> None:
        try:
            async with trio.open_nursery() as nursery:
                wanted = Wanted()
                wanted.set(frozenset(markets))
                receive = _start(nursery, stream, wanted)
                self._judge_heard(await hear(receive, markets, self.seconds))
                silent = partial(falls_silent, wanted, receive, min(SILENT_S, self.seconds / 2))
                await self.attempt("stream_quotes", "stops when nothing is wanted", silent)
                nursery.cancel_scope.cancel()
                cancelled_at = trio.current_time()
        except Exception as error:  # noqa: BLE001 - whatever a provider raises
            self.note("stream_quotes", "runs until it is cancelled", "broken", _reason(error))
        else:
            self.judge("stream_quotes", "ends when cancelled", _late(cancelled_at))

    def _judge_heard(self, heard: Heard) -> None:
        for check, complaints in STREAM.items():
            self.judge("stream_quotes", check, complaints(heard))


def _start(
    nursery: trio.Nursery, stream: Stream, wanted: Wanted
) -> trio.MemoryReceiveChannel[Batch]:
    """Start a feed; if it returns, that is the end of what can be received."""
    send, receive = trio.open_memory_channel[Batch](QUEUED)

    async def run() -> None:
        await stream(wanted, send)
        send.close()

    nursery.start_soon(run)
    return receive


def _absent(name: str, declared: Mapping[str, str]) -> Outcome:
    """An endpoint that isn't there is broken only where the others of its kind need it."""
    return "broken" if declared and name in NEEDED else "unsupported"


def _late(cancelled_at: float) -> Iterator[str]:
    if (took := trio.current_time() - cancelled_at) > PROMPT_S:
        yield f"expected an end within {PROMPT_S:g} s, was {took:.1f} s"


def _held() -> dict[str, int]:
    """What this process holds now and a provider should give back."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return {"tasks": tasks, "file descriptors": len(os.listdir("/proc/self/fd"))}


def _left(before: Mapping[str, int]) -> Iterator[str]:
    for name, count in _held().items():
        if count > before[name]:
            yield f"expected {before[name]} {name} as before, were {count}"


def _reason(error: BaseException) -> str:
    """The first error of a group, in a line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    kind = "" if isinstance(error, Broken | Refused) else f"{type(error).__name__}: "
    return f"{kind}{error}"
