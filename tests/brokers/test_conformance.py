import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from piker.brokers import Batches, Provider, Subscribed, Wanted, known, load
from piker.brokers.conformance import Report, check_provider
from piker.errors import Fault, Refused
from piker.interfaces.service import BrokenProvider, UnknownProvider
from tests.brokers import broken


def outcomes(report: Report) -> dict[str, str]:
    """What came of each check."""
    return {f"{each.endpoint}: {each.check}": each.outcome for each in report.results}


def calm(endpoint: str, where: str) -> Provider:
    """sim without its search, which needs threads, and with one endpoint of another's."""
    endpoints = {**load("sim").endpoints["datad"], endpoint: where}
    if endpoint != "open_symbol_search":
        del endpoints["open_symbol_search"]
    return replace(load("sim"), endpoints={"datad": endpoints})


@pytest.mark.parametrize(
    ("name", "settings"), [("replay", {"speed": 0.0}), ("sim", {"rate_hz": 0.0, "markets": 1000})]
)
async def test_a_provider_of_ours_keeps_every_promise(
    name: str, settings: dict[str, float]
) -> None:
    provider = load(name)
    report = await check_provider(provider, provider.settings(**settings))
    assert report.broken == ()
    assert outcomes(report)["stream_quotes: ends when cancelled"] == "ok"
    assert outcomes(report)["open_symbol_search: finds a market by its name"] == "ok"


async def test_the_markets_to_try_can_be_named() -> None:
    sim = load("sim")
    report = await check_provider(sim, sim.settings(rate_hz=1000.0), ["s0007"])
    assert report.broken == ()
    assert outcomes(report)["get_mkt_info: describes s0007.xsim.sim"] == "ok"


async def test_what_a_provider_does_not_have_is_unsupported_and_not_broken() -> None:
    sim = load("sim")
    endpoints = dict(sim.endpoints["datad"])
    del endpoints["open_symbol_search"]
    report = await check_provider(replace(sim, endpoints={"datad": endpoints}))
    assert report.broken == ()
    assert outcomes(report)["open_symbol_search: loads"] == "unsupported"
    assert outcomes(report)["stream_quotes: streams"] == "unsupported"


async def test_a_provider_without_a_needed_endpoint_is_broken() -> None:
    provider = replace(broken.PROVIDER, endpoints={"datad": {"get_mkt_info": "x:y"}})
    report = await check_provider(provider)
    assert outcomes(report)["open_venue: loads"] == "broken"
    assert outcomes(report)["get_mkt_info: loads"] == "broken"


async def test_every_broken_promise_is_found() -> None:
    report = await check_provider(broken.PROVIDER, seconds=0.5)
    assert {key for key, outcome in outcomes(report).items() if outcome == "broken"} == {
        "PROVIDER: declaration",
        "open_history_client: loads",
        "open_symbol_search: finds a market by its name",
        "open_symbol_search: keeps the limit",
        "get_mkt_info: describes BAD.broken",
        "get_mkt_info: in any case",
        "get_mkt_info: without the provider",
        "get_mkt_info: refuses an unknown name",
        "stream_quotes: Subscribed before the first quote",
        "stream_quotes: only what is wanted",
        "stream_quotes: finite prices, sizes not below 0",
        "stream_quotes: prices on the grid",
        "stream_quotes: time_ns never goes back",
        "stream_quotes: seen_ns by CLOCK_BOOTTIME",
        "stream_quotes: nothing made up",
        "stream_quotes: stops when nothing is wanted",
        "open_venue: leaves nothing",
    }


@pytest.mark.parametrize(
    ("endpoint", "function", "check", "detail"),
    [
        ("open_venue", "open_never", "opens and closes", "not done within 0.5 s"),
        ("open_venue", "open_for_ever", "opens and closes", "not done within 0.5 s"),
        ("open_venue", "seven", "opens and closes", "TypeError: "),
        ("open_symbol_search", "open_never", "opens and closes", "not done within 0.5 s"),
        ("get_mkt_info", "hang", "gives a market", "not done within 0.5 s"),
        ("get_mkt_info", "lose", "gives a market", "VenueLost: the venue said goodbye"),
        ("stream_quotes", "hang", "tells of every market", "expected s0000.xsim.sim to be"),
        (
            "stream_quotes",
            "give_up",
            "runs until it is cancelled",
            "expected stream_quotes to run until it is cancelled, it returned",
        ),
        ("stream_quotes", "lose", "runs until it is cancelled", "VenueLost: the venue said good"),
        ("stream_quotes", "linger", "ends when cancelled", "expected an end within 1 s, was"),
    ],
)
async def test_what_hangs_or_ends_is_reported_and_not_waited_for(
    endpoint: str, function: str, check: str, detail: str, autojump_clock: MockClock
) -> None:
    provider = calm(endpoint, f"{broken.__name__}:{function}")
    report = await check_provider(provider, names=["s0000"], seconds=0.5)
    (found,) = [each for each in report.broken if (each.endpoint, each.check) == (endpoint, check)]
    assert found.detail.startswith(detail)


@pytest.mark.parametrize("past", ["right_past", "quiet_past"])
async def test_a_past_that_is_as_it_should_be_is_not_broken(
    past: str, autojump_clock: MockClock
) -> None:
    provider = calm("open_history_client", f"{broken.__name__}:{past}")
    report = await check_provider(provider, names=["s0000"], seconds=0.5)
    assert report.broken == ()
    assert outcomes(report)["open_history_client: gives bars of 60 s"] == "ok"


@pytest.mark.parametrize(
    ("past", "check", "detail"),
    [
        ("open_never", "opens and closes", "not done within 0.5 s"),
        ("no_period", "says its periods and frames", "expected at least one period, were none"),
        ("short_frame", "says its periods and frames", "expected a frame of at least 60 s, was 1"),
        ("no_pace", "says its pace", "expected at least one question at once, was 0"),
        ("empty_rate", "says its pace", "expected rates of at least 1 question in at most 86400"),
        ("endless_rate", "says its pace", "expected rates of at least 1 question in at most 8640"),
        ("not_a_pace", "says its pace", "expected pace to be a Pace, was (60, 600)"),
        ("lost_past", "gives bars of 1 s", "VenueLost: the venue said goodbye"),
        ("hung_past", "gives bars of 1 s", "not done within 0.5 s"),
        ("eternal_past", "makes up no past", "expected no bars of 1970, were 1 of 1 s"),
        ("late_end", "a frame as it was asked for", "expected a frame that ends at "),
        ("early_begin", "a frame as it was asked for", "expected one from "),
        ("odd_begin", "a frame as it was asked for", "expected it to begin on a period of 1 s"),
        ("odd_bar", "bars begin on periods", "expected a bar on a period of 1 s, was 1000"),
        ("backwards", "bars oldest first, each once", "expected bars oldest first, was "),
        ("doubled", "bars oldest first, each once", "expected bars oldest first, was "),
        ("outside", "bars inside their frame, whole", "expected a bar within its frame, was 0"),
        ("too_new", "bars inside their frame, whole", "expected a bar within its frame, was "),
        ("no_number", "bars with finite prices, low to high", "expected prices between low and"),
        ("above_high", "bars with finite prices, low to high", "expected prices between low and"),
        ("less_than_none", "bars with finite prices, low to high", "expected a volume and trades"),
        ("not_derived", "bars with finite prices, low to high", "expected derived to be False"),
    ],
)
async def test_a_broken_promise_of_the_past_is_found(
    past: str, check: str, detail: str, autojump_clock: MockClock
) -> None:
    provider = calm("open_history_client", f"{broken.__name__}:{past}")
    report = await check_provider(provider, names=["s0000"], seconds=0.5)
    found = [each for each in report.broken if each.check == check]
    assert found
    assert found[0].detail.startswith(detail)
    assert {each.endpoint for each in report.broken} == {"open_history_client"}


async def test_a_market_that_trades_and_says_nothing_is_broken(autojump_clock: MockClock) -> None:
    provider = calm("stream_quotes", f"{__name__}:mute")
    report = await check_provider(provider, names=["s0000"], seconds=0.5)
    assert [each.check for each in report.broken] == ["quotes while a market trades"]


async def test_a_quiet_market_is_not_broken(autojump_clock: MockClock) -> None:
    provider = calm("open_venue", "piker.brokers.sim.feed:open_venue")
    settings = provider.settings(rate_hz=0.1)
    report = await check_provider(provider, settings, ["s0000", "s0001"], seconds=0.5)
    assert report.broken == ()


async def mute(venue: object, wanted: Wanted, batches: Batches) -> None:
    """Subscribes what is wanted, and says no more."""
    await batches.send([Subscribed(market=market) for market in wanted.look()])
    await trio.sleep_forever()


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution, installed by its metadata alone, that brings providers of others."""
    metadata = tmp_path / "third_party-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[piker.brokers]\nthird = third_party\nodd = third_party_odd\ngone = third_party_gone\n"
    )
    (tmp_path / "third_party.py").write_text(THIRD_PARTY)
    (tmp_path / "third_party_odd.py").write_text("PROVIDER = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    load.cache_clear()
    yield
    load.cache_clear()
    for name in ("third_party", "third_party_odd"):
        sys.modules.pop(name, None)


THIRD_PARTY = """
from dataclasses import replace
from piker.brokers import sim

async def get_mkt_info(venue, name):
    raise RuntimeError("not today")

ENDPOINTS = {**sim.PROVIDER.endpoints["datad"], "get_mkt_info": "third_party:get_mkt_info"}
PROVIDER = replace(sim.PROVIDER, name="third", endpoints={"datad": ENDPOINTS})
"""


@pytest.mark.usefixtures("third_party")
async def test_a_provider_of_a_third_party_is_found_and_checked() -> None:
    assert set(known()) >= {"replay", "sim", "third", "odd", "gone"}
    report = await check_provider(load("third"), seconds=0.5)
    assert report.provider == "third"
    details = [each.detail for each in report.broken if each.check == "gives a market"]
    assert details == ["RuntimeError: not today"] * 3


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize(
    ("name", "fault", "reason"),
    [
        ("odd", BrokenProvider, "expected PROVIDER to be a Provider, was int"),
        ("gone", BrokenProvider, "No module named 'third_party_gone'"),
        ("nobody", UnknownProvider, "third"),
    ],
)
def test_a_provider_that_cannot_be_loaded_is_refused(
    name: str, fault: type[Fault], reason: str
) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        load(name)
    assert isinstance(refused.value.fault, fault)
