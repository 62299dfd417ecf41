"""A name of a market becomes what to ask the gateway for, and what it answers a market again."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from piker.brokers.ib.contracts import (
    BadDetails,
    choose,
    fqme,
    front,
    market,
    none_such,
    queries,
    route,
    rule_id,
    wider,
)
from piker.brokers.ib.messages import Contract, ContractDetails, PriceStep
from piker.brokers.ib.names import CURRENCIES, name_of, parse
from piker.errors import Refused
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket
from piker.interfaces.introspection import InvalidParameter
from piker.markets import PriceBand

TODAY = date(2026, 11, 23)
HOURS = "20261123:0930-20261123:1600"


def details(sec_type: str, symbol: str, exchange: str, **fields: object) -> ContractDetails:
    """Details as a gateway tells them; fields of the contract or of the details."""
    told = ContractDetails(
        contract=Contract(
            con_id=1, symbol=symbol, sec_type=sec_type, exchange=exchange, currency="USD"
        ),
        min_tick=Decimal("0.01"),
        price_magnifier=1,
        valid_exchanges=(exchange,),
        rule_ids=(26,),
        long_name="",
        contract_month="",
        real_expiry="",
        last_trade_time="",
        time_zone="US/Eastern",
        trading_hours="",
        liquid_hours="",
        stock_type="",
        underlying="",
        min_size=None,
        size_increment=None,
        suggested_size_increment=None,
    )
    contract = {each: fields.pop(each) for each in list(fields) if hasattr(told.contract, each)}
    return structs.replace(told, contract=structs.replace(told.contract, **contract), **fields)


def stock(symbol: str, primary: str, **fields: object) -> ContractDetails:
    """A stock, found by SMART."""
    venues = (("SMART", "AMEX", primary), (26, 27, 28))
    told = details("STK", symbol, "SMART", primary_exchange=primary, trading_class="NMS")
    told = structs.replace(told, valid_exchanges=venues[0], rule_ids=venues[1])
    contract = {each: fields.pop(each) for each in list(fields) if hasattr(told.contract, each)}
    return structs.replace(told, contract=structs.replace(told.contract, **contract), **fields)


def future(
    symbol: str, exchange: str, expiry: str, con_id: int = 1, **more: object
) -> ContractDetails:
    """A month of a future, of the class that its symbol is."""
    told = {"trading_class": symbol, "multiplier": "2", "contract_month": expiry[:6], **more}
    return details("FUT", symbol, exchange, expiry=expiry, con_id=con_id, **told)


def option(symbol: str, expiry: str, right: str, strike: str, **more: object) -> ContractDetails:
    """An option that SMART routes."""
    told = {"trading_class": symbol, "multiplier": "100", "valid_exchanges": ("SMART", "CBOE")}
    terms = {"expiry": expiry, "right": right, "strike": Decimal(strike)}
    return details("OPT", symbol, "SMART", **{**told, **terms, **more})


def found_by(query: Contract, told: ContractDetails) -> bool:
    """Whether a gateway that is asked so would tell these details."""
    asked = {name: value for name, value in structs.asdict(query).items() if value}
    venue, expiry = asked.pop("exchange", ""), asked.pop("expiry", "")
    return (
        all(getattr(told.contract, name) == value for name, value in asked.items())
        and venue in {"", told.contract.exchange, *told.valid_exchanges}
        and expiry in {"", told.contract.expiry, told.contract_month}
    )


def ask(name: str, *gateway: ContractDetails) -> tuple[ContractDetails, ...]:
    """What a name means at a gateway that has these."""
    wanted = parse(name, TODAY)
    found = [told for query in queries(wanted) for told in gateway if found_by(query, told)]
    return choose(wanted, found, TODAY)


def refusal(name: str, *gateway: ContractDetails) -> object:
    """Why a name means nothing there."""
    with pytest.raises(Refused) as refused:
        ask(name, *gateway)
    return refused.value.fault


ONE_OF_EACH = {
    "aapl.nasdaq.ib": stock("AAPL", "NASDAQ"),
    "brk-b.nyse.ib": stock("BRK B", "NYSE"),
    "bt_a.lse.ib": stock("BT.A", "LSE", currency="GBP"),
    "cspx.lseetf.usd.ib": stock("CSPX", "LSEETF"),
    "7203.tsej.ib": stock("7203", "TSEJ", currency="JPY"),
    "mnq.cme.20261218.ib": future("MNQ", "CME", "20261218"),
    "vix.cfe.20261216.vx.ib": future("VIX", "CFE", "20261216", trading_class="VX"),
    "eur.cme.20261214.6e.ib": future("EUR", "CME", "20261214", trading_class="6E"),
    "spy.smart.20261218.c500.ib": option("SPY", "20261218", "C", "500"),
    "spy.smart.20261218.p500_5.ib": option("SPY", "20261218", "P", "500.50"),
    "spx.smart.20261218.c6000.spxw.ib": option(
        "SPX", "20261218", "C", "6000", trading_class="SPXW"
    ),
    "brk-b.smart.20261218.c400.ib": option("BRK B", "20261218", "C", "400", trading_class="BRKB"),
    "x.nymex.20261218.~436.ib": future("X", "NYMEX", "20261218", trading_class="C6"),
    "x.nymex.20261218.~31234567.ib": future("X", "NYMEX", "20261218", trading_class="1234567"),
    "x.nymex.20261218.~55sd.ib": future("X", "NYMEX", "20261218", trading_class="USD"),
    "a~26b.nyse.ib": stock("A&B", "NYSE"),
    "kspi.aix.ib": stock("KSPI", "AIX", currency="KZT"),
    "td.smart.20261218.c80.cad.ib": option("TD", "20261218", "C", "80", currency="CAD"),
    "es.cme.20261218.c6000.ib": details(
        "FOP", "ES", "CME", expiry="20261218", right="C", strike=Decimal(6000), trading_class="ES"
    ),
    "eurusd.idealpro.ib": details("CASH", "EUR", "IDEALPRO"),
    "btcusd.paxos.ib": details("CRYPTO", "BTC", "PAXOS"),
    "xauusd.smart.ib": details("CMDTY", "XAUUSD", "SMART"),
    "spx.cboe.ib": details("IND", "SPX", "CBOE"),
}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_whole_name_means_its_contract_and_the_contract_has_that_name(name: str) -> None:
    (found,) = ask(name, *ONE_OF_EACH.values())
    assert found == ONE_OF_EACH[name]
    assert market(found, ()).fqme == fqme(found) == name


@pytest.mark.parametrize(
    ("name", "fqme_of_it"),
    [
        ("AAPL.NASDAQ", "aapl.nasdaq.ib"),
        (" aapl ", "aapl.nasdaq.ib"),
        ("aapl.ib", "aapl.nasdaq.ib"),
        ("aapl.smart.ib", "aapl.nasdaq.ib"),
        ("aapl.nasdaq.usd.ib", "aapl.nasdaq.ib"),
        ("BRK B.NYSE", "brk-b.nyse.ib"),
        ("cspx.lseetf.ib", "cspx.lseetf.usd.ib"),
        ("eur.usd", "eurusd.idealpro.ib"),
        ("eur.usd.idealpro.ib", "eurusd.idealpro.ib"),
        ("EURUSD", "eurusd.idealpro.ib"),
        ("btcusd", "btcusd.paxos.ib"),
        ("xauusd", "xauusd.smart.ib"),
        ("spx", "spx.cboe.ib"),
        ("mnq", "mnq.cme.20261218.ib"),
        ("mnq.cme.202612", "mnq.cme.20261218.ib"),
        ("vix.cfe.20261216", "vix.cfe.20261216.vx.ib"),
        ("spy.smart.20261218.p500_50", "spy.smart.20261218.p500_5.ib"),
        ("spx.smart.20261218.c6000", "spx.smart.20261218.c6000.spxw.ib"),
    ],
)
def test_less_than_the_whole_name_is_enough_where_it_is_unambiguous(
    name: str, fqme_of_it: str
) -> None:
    assert [fqme(each) for each in ask(name, *ONE_OF_EACH.values())] == [fqme_of_it]


def test_a_stock_is_asked_for_by_smart_and_where_it_is_listed() -> None:
    assert queries(parse("aapl.nasdaq.ib", TODAY))[0] == Contract(
        symbol="AAPL", sec_type="STK", exchange="SMART", primary_exchange="NASDAQ"
    )


def test_smart_alone_means_dollars() -> None:
    query = queries(parse("aapl.smart.ib", TODAY))[0]
    assert (query.primary_exchange, query.currency) == ("", "USD")


def test_an_ambiguous_name_is_refused_with_the_whole_names() -> None:
    listed = stock("VOD", "NASDAQ"), stock("VOD", "LSE", currency="GBP")
    candidates = ("vod.nasdaq.ib", "vod.lse.ib")
    assert refusal("vod", *listed) == AmbiguousMarket(market="vod", candidates=candidates)


def test_two_currencies_at_one_exchange_are_two_markets() -> None:
    listed = stock("CSPX", "LSEETF"), stock("CSPX", "LSEETF", currency="GBP", con_id=2)
    assert ask("cspx.lseetf.ib", *listed) == (listed[1],)
    assert ask("cspx.lseetf.usd.ib", *listed) == (listed[0],)


def test_a_whole_name_wins_over_longer_ones() -> None:
    classes = [
        option("SPX", "20261218", "C", "6000", trading_class=each) for each in ("SPXW", "SPX")
    ]
    assert ask("spx.smart.20261218.c6000.ib", *classes) == (classes[1],)


def test_a_stock_and_a_future_of_one_symbol_are_ambiguous() -> None:
    both = stock("ES", "NYSE"), future("ES", "CME", "20261218")
    assert refusal("es.ib", *both) == AmbiguousMarket(
        market="es.ib", candidates=("es.nyse.ib", "es.cme.20261218.ib")
    )


def test_an_index_wins_over_the_future_on_it_at_the_same_venue() -> None:
    index = details("IND", "DAX", "EUREX", currency="EUR")
    assert ask("dax.eurex.ib", future("DAX", "EUREX", "20261218"), index) == (index,)


def test_two_contracts_of_one_whole_name_are_ambiguous_and_none_is_chosen() -> None:
    both = (
        future("MNQ", "CME", "20261218", con_id=1, local_symbol="MNQZ6"),
        future("MNQ", "CME", "20261218", con_id=2, local_symbol="MNQZ6 X", multiplier="20"),
    )
    for name in ("mnq.cme.20261218.ib", "mnq.cme"):
        expected = ("MNQZ6 (1)", "MNQZ6 X (2)")
        assert refusal(name, *both) == AmbiguousMarket(market=name, candidates=expected)


def test_a_contract_that_is_found_twice_is_one() -> None:
    twice = future("MNQ", "CME", "20261218"), future("MNQ", "CME", "20261218")
    assert ask("mnq.cme.20261218.ib", *twice) == twice[:1]


def test_options_that_end_in_one_month_are_ambiguous() -> None:
    weekly = [
        option("SPY", day, "C", "500", contract_month="202612") for day in ("20261211", "20261218")
    ]
    assert refusal("spy.smart.202612.c500", *weekly) == AmbiguousMarket(
        market="spy.smart.202612.c500",
        candidates=("spy.smart.20261211.c500.ib", "spy.smart.20261218.c500.ib"),
    )


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("si.comex.20261229.sil.ib", future("SI", "COMEX", "20261229", trading_class="SI")),
        ("si.comex.20261229.sil.ib", future("SI", "COMEX", "20261230", trading_class="SIL")),
        ("cspx.lseetf.usd.ib", stock("CSPX", "LSEETF", currency="GBP")),
        ("cspx.lseetf.usd.ib", stock("CSPX", "AEB")),
        ("spy.smart.20261218.c500.ib", option("SPY", "20261218", "C", "501")),
        ("spy.smart.20261218.c500.ib", option("SPY", "20261218", "P", "500")),
    ],
)
def test_what_was_not_asked_for_is_shown_but_not_taken(name: str, other: ContractDetails) -> None:
    wanted = parse(name, TODAY)
    with pytest.raises(Refused) as refused:
        choose(wanted, [other], TODAY)
    assert refused.value.fault == NoSuchMarket(market=name, similar=(fqme(other),))


def test_a_contract_that_is_told_twice_is_one() -> None:
    told = future("ES", "CME", "20261218", valid_exchanges=("CME", "QBALGO"))
    again = structs.replace(told, contract=structs.replace(told.contract, exchange="QBALGO"))
    assert [fqme(each) for each in ask("es.ib", told, again)] == ["es.cme.20261218.ib"]


def test_an_option_has_one_name_whichever_exchange_was_asked() -> None:
    told = option("SPY", "20261218", "C", "500")
    there = structs.replace(told, contract=structs.replace(told.contract, exchange="CBOE"))
    assert fqme(there) == "spy.smart.20261218.c500.ib"


# --- futures without an expiry

THREE = ("20261218", "20270319", "20270618")
MONTHS = [future("MNQ", "CME", expiry, con_id) for con_id, expiry in enumerate(THREE)]


@pytest.mark.parametrize("name", ["mnq", "mnq.ib", "mnq.cme", "MNQ.CME.ib"])
def test_a_future_without_expiry_means_its_months_nearest_first(name: str) -> None:
    assert ask(name, *reversed(MONTHS)) == tuple(MONTHS)


def test_a_month_that_is_over_is_not_among_them() -> None:
    assert ask("mnq.cme", future("MNQ", "CME", "20260918"), *MONTHS) == tuple(MONTHS)


def test_only_the_nearest_months_are_asked_for_their_volume() -> None:
    many = [future("CL", "NYMEX", f"2027{month:02}20") for month in range(1, 13)]
    assert ask("cl.nymex", *many) == tuple(many[:4])


def test_a_class_tells_futures_of_one_symbol_apart() -> None:
    big = future("SI", "COMEX", "20261229")
    small = future("SI", "COMEX", "20261229", 2, trading_class="SIL")
    assert ask("si.comex.ib", small, big) == (big,)
    assert ask("si.comex.sil.ib", small, big) == (small,)
    assert ask("si.comex.20261229.sil.ib", small, big) == (small,)


def test_the_front_month_is_the_one_with_the_most_volume_and_that_is_said() -> None:
    found, why = front(MONTHS, {0: 100.0, 1: 2500.0})
    assert found is MONTHS[1]
    assert why == (
        "mnq.cme.20270319.ib (2500) is the front month: it had the most volume in its last daily "
        "bar, before mnq.cme.20261218.ib (100), mnq.cme.20270618.ib (0)"
    )


@pytest.mark.parametrize("volumes", [{}, {0: -1.0, 1: 0.0}, {1: float("nan")}])
def test_without_volumes_the_nearest_month_is_the_front_and_that_is_said(
    volumes: dict[int, float],
) -> None:
    found, why = front(MONTHS, volumes)
    assert (found, why) == (
        MONTHS[0],
        "mnq.cme.20261218.ib is the nearest month; none had any volume",
    )


def test_of_equal_volumes_the_nearest_month_is_the_front() -> None:
    assert front(MONTHS, {0: 7.0, 1: 7.0})[0] is MONTHS[0]


# --- names that mean nothing


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "SYMBOL.VENUE"),
        (".ib", "SYMBOL.VENUE"),
        ("aapl..ib", "SYMBOL.VENUE"),
        ("aäpl.nasdaq", "SYMBOL.VENUE"),
        ("a/b.nasdaq", "SYMBOL.VENUE"),
        ("mnq.20261218", "the venue before the expiry, such as mnq.cme.20261218"),
        ("mnq.cme.20261218.c5.a.b.c", "SYMBOL.VENUE"),
        ("mnq.cme.20261399", "an expiry that is a date, such as 20261218"),
        ("mnq.cme.202613", "an expiry that is a date, such as 20261218"),
        ("mnq.cme.2026", "an expiry such as 20261218 or 202612"),
        ("mnq.cme.20261120.ib", "an expiry from 20261123 on, or none for the front month"),
        ("spy.smart.c500", "the expiry before right and strike"),
        ("spy.smart.20261218.x500", "a right and strike such as c500 or p500_5"),
        ("spy.smart.20261218.500", "or a strike such as c500_5"),
        ("spy.smart.20261218.c500.5", "or a strike such as c500_5"),
        ("spy.smart.20261218.c0", "a strike above 0"),
        ("eur.idealpro", "what is traded and a currency, such as eurusd.idealpro"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_what_was_expected(
    name: str, expected: str
) -> None:
    fault = refusal(name)
    assert isinstance(fault, InvalidParameter)
    assert fault.parameter.startswith("market: expected ")
    assert expected in fault.parameter
    assert fault.parameter.endswith(f", was {name}")


@pytest.mark.parametrize("expiry", ["202611", "202610", "20261123"])
def test_a_month_or_this_very_day_is_not_over(expiry: str) -> None:
    assert parse(f"cl.nymex.{expiry}", TODAY).expiry == expiry


def test_what_nobody_has_is_no_such_market() -> None:
    assert refusal("nosuch.nasdaq.ib") == NoSuchMarket(market="nosuch.nasdaq.ib")


def test_a_stock_that_is_listed_elsewhere_is_shown() -> None:
    wanted = parse("aapl.nyse", TODAY)
    with pytest.raises(Refused) as refused:
        choose(wanted, [stock("AAPL", "NASDAQ")], TODAY)
    assert refused.value.fault == NoSuchMarket(market="aapl.nyse", similar=("aapl.nasdaq.ib",))


def wider_refusal(name: str, *gateway: ContractDetails) -> object:
    """The refusal after the wider questions were asked."""
    wanted = parse(name, TODAY)
    near = [told for query in wider(wanted) for told in gateway if found_by(query, told)]
    return none_such(wanted, near, TODAY).fault


def test_an_expiry_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    assert wider_refusal("mnq.cme.20270318", *MONTHS) == NoSuchMarket(
        market="mnq.cme.20270318",
        similar=("mnq.cme.20270319.ib", "mnq.cme.20261218.ib", "mnq.cme.20270618.ib"),
    )


def test_a_strike_that_there_is_not_is_refused_with_the_nearest() -> None:
    chain = [option("SPY", "20261218", "C", strike) for strike in ("490", "495", "500")]
    assert wider_refusal("spy.smart.20261218.c496", *chain) == NoSuchMarket(
        market="spy.smart.20261218.c496",
        similar=tuple(f"spy.smart.20261218.c{strike}.ib" for strike in (495, 500, 490)),
    )


def test_without_an_expiry_there_is_nothing_wider_to_ask() -> None:
    assert wider(parse("aapl.nasdaq", TODAY)) == ()


# --- markets


def test_a_stock_is_a_market() -> None:
    told = stock("AAPL", "NASDAQ", long_name="APPLE INC", con_id=265598, trading_hours=HOURS)
    found = market(told, ())
    assert (found.venue_id, found.description) == ("265598", "APPLE INC")
    assert (found.asset_class, found.currency) == ("stock", "USD")
    assert (found.multiplier, found.price_tick) == (Decimal(1), Decimal("0.01"))
    assert found.sessions is not None
    assert len(found.sessions) == 1


def test_hours_that_are_not_told_are_always_open_but_closed_days_are_closed() -> None:
    told = stock("AAPL", "NASDAQ")
    assert market(told, ()).sessions is None
    closed = structs.replace(told, trading_hours="20261123:CLOSED")
    assert market(closed, ()).sessions == ()


def test_orders_for_a_stock_go_by_smart_and_its_rule_holds() -> None:
    told = stock("AAPL", "NASDAQ", exchange="AMEX")
    assert route(told).exchange == "SMART"
    assert rule_id(told) == 26


def test_orders_for_a_future_go_to_its_exchange_and_its_rule_holds() -> None:
    told = future("ES", "CME", "20261218", valid_exchanges=("QBALGO", "CME"), rule_ids=(1, 67))
    assert route(structs.replace(told, valid_exchanges=("CME", "QBALGO"))).exchange == "CME"
    assert rule_id(structs.replace(told, valid_exchanges=("CME", "QBALGO"))) == 1


def test_without_a_rule_the_smallest_step_holds() -> None:
    told = stock("AAPL", "NASDAQ", rule_ids=())
    assert rule_id(told) is None
    assert market(told, ()).price_tick == Decimal("0.01")


def steps(**bands: str) -> tuple[PriceStep, ...]:
    """A market rule: the steps from prices up."""
    return tuple(
        PriceStep(from_price=Decimal(price[1:]), step=Decimal(step))
        for price, step in bands.items()
    )


def test_a_rule_of_one_step_is_the_tick() -> None:
    found = market(future("ES", "CME", "20261218"), steps(_0="0.25"))
    assert (found.price_tick, found.price_bands) == (Decimal("0.25"), ())


def test_a_rule_of_several_steps_is_bands_lowest_first() -> None:
    found = market(option("SPX", "20261218", "C", "6000"), steps(_3="0.10", _0="0.05"))
    assert found.price_tick == Decimal("0.05")
    assert found.price_bands == (
        PriceBand(from_price=Decimal(0), price_tick=Decimal("0.05")),
        PriceBand(from_price=Decimal(3), price_tick=Decimal("0.10")),
    )


def test_prices_in_pence_stay_in_pence_and_a_pound_is_a_hundred_of_them() -> None:
    told = stock("VOD", "LSE", currency="GBP", price_magnifier=100, min_tick=Decimal("0.0001"))
    found = market(told, steps(_0="0.0001", _1="0.0005"))
    assert (found.currency, found.multiplier) == ("GBP", Decimal("0.01"))
    assert found.price_tick == Decimal("0.01")
    assert found.price_bands[1] == PriceBand(from_price=Decimal(100), price_tick=Decimal("0.05"))
    assert market(told, ()).price_tick == Decimal("0.01")


def test_a_future_in_cents_moves_by_its_multiplier_over_the_magnifier() -> None:
    wheat = future("ZW", "CBOT", "20261214", multiplier="5000", price_magnifier=100)
    assert market(wheat, ()).multiplier == 50


@pytest.mark.parametrize("magnifier", [0, 1])
def test_without_a_magnifier_prices_are_in_the_currency(magnifier: int) -> None:
    assert market(stock("AAPL", "NASDAQ", price_magnifier=magnifier), ()).multiplier == 1


@pytest.mark.parametrize(
    ("increment", "smallest", "tick"),
    [("0.0001", "1", "0.0001"), ("100", "100", "100"), (None, "5", "5"), (None, None, "1")],
)
def test_sizes_go_by_the_increment(increment: str | None, smallest: str | None, tick: str) -> None:
    sizes = [None if each is None else Decimal(each) for each in (increment, smallest)]
    told = stock("AAPL", "NASDAQ", size_increment=sizes[0], min_size=sizes[1])
    assert market(told, ()).size_tick == Decimal(tick)


@pytest.mark.parametrize(
    ("name", "asset_class", "trades", "volume", "sides"),
    [
        ("aapl.nasdaq.ib", "stock", True, True, True),
        ("mnq.cme.20261218.ib", "future", True, True, True),
        ("spy.smart.20261218.c500.ib", "option", True, True, True),
        ("es.cme.20261218.c6000.ib", "option", True, True, True),
        ("btcusd.paxos.ib", "crypto", True, True, True),
        ("eurusd.idealpro.ib", "forex", False, False, True),
        ("xauusd.smart.ib", "commodity", False, False, True),
        ("spx.cboe.ib", "index", True, False, False),
    ],
)
def test_a_kind_has_what_ib_shows_of_it(
    name: str, asset_class: str, trades: bool, volume: bool, sides: bool
) -> None:
    found = market(ONE_OF_EACH[name], ())
    assert found.asset_class == asset_class
    assert (found.has_trades, found.has_volume) == (trades, volume)
    assert (found.has_bid, found.has_ask) == (sides, sides)


def test_a_description_says_which_month_or_option_it_is() -> None:
    told = structs.replace(option("SPY", "20261218", "P", "500.5"), long_name="SPDR S&P 500")
    assert market(told, ()).description == "SPDR S&P 500, 20261218, put 500.5"


@pytest.mark.parametrize("multiplier", ["x", "0", "-1", "NaN", "Infinity"])
def test_a_multiplier_that_is_none_is_named(multiplier: str) -> None:
    with pytest.raises(BadDetails, match=f"expected a multiplier above 0, was '{multiplier}'"):
        market(future("ES", "CME", "20261218", multiplier=multiplier), ())


def test_a_price_step_of_nothing_is_named() -> None:
    with pytest.raises(BadDetails, match=r"aapl.nasdaq.ib: expected price steps above 0"):
        market(stock("AAPL", "NASDAQ", min_tick=Decimal(0)), ())


def test_a_contract_without_an_exchange_has_no_name() -> None:
    with pytest.raises(BadDetails, match="expected a contract with"):
        fqme(details("IND", "SPX", ""))


def test_the_expiry_may_stand_in_the_real_expiry() -> None:
    told = future("MNQ", "CME", "202612", real_expiry="20261218")
    assert fqme(told) == "mnq.cme.20261218.ib"


# --- from an order or a position back

AT_CBOE = structs.replace(option("SPY", "20261218", "C", "500").contract, exchange="CBOE")


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_contract_that_says_enough_has_its_name_without_details(name: str) -> None:
    assert name_of(ONE_OF_EACH[name].contract) == name


@pytest.mark.parametrize(
    "contract",
    [
        Contract(con_id=265598, symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD"),
        Contract(con_id=1, symbol="ES", sec_type="FUT", expiry="20261218"),
        Contract(con_id=1, symbol="ES", sec_type="FUT", exchange="CME", expiry="202612"),
        Contract(con_id=1, symbol="SPY", sec_type="OPT", expiry="20261218", right="C"),
        AT_CBOE,
        Contract(con_id=1, symbol="SPY", sec_type="OPT", exchange="SMART", expiry="20261218"),
        Contract(con_id=1, symbol="IBKR", sec_type="BAG", exchange="SMART"),
        Contract(con_id=1, sec_type="STK", primary_exchange="NYSE"),
    ],
)
def test_a_contract_that_does_not_say_enough_has_no_name_without_details(
    contract: Contract,
) -> None:
    assert name_of(contract) is None


# --- the round trip, of anything

SYMBOLS = st.text("ABCXYZ019 .-_~'/aé", min_size=1, max_size=6)
VENUES = st.from_regex(r"[A-Z][A-Z0-9.]{0,6}", fullmatch=True).filter(
    lambda each: each not in {"SMART", "IDEALPRO", "PAXOS", "ZEROHASH", *CURRENCIES}
)
MONEY = st.sampled_from(sorted(CURRENCIES))
EXPIRIES = st.dates(TODAY, date(2030, 1, 1)).map(lambda day: f"{day:%Y%m%d}")
STRIKES = st.decimals("0.0001", "99999", places=4)
TERMS = {"expiry": EXPIRIES, "trading_class": SYMBOLS, "currency": MONEY}
LISTED = st.builds(stock, SYMBOLS, VENUES, currency=MONEY)
PLAIN = st.builds(details, st.sampled_from(["IND", "FUT"]), SYMBOLS, VENUES, **TERMS)
PAIRED = st.one_of(
    st.builds(details, st.just("CASH"), MONEY, st.just("IDEALPRO"), currency=MONEY),
    st.builds(details, st.just("CRYPTO"), SYMBOLS, st.just("PAXOS"), currency=MONEY),
)
OPTIONAL = st.builds(
    option, SYMBOLS, EXPIRIES, st.sampled_from("CP"), STRIKES, trading_class=SYMBOLS, currency=MONEY
)


@given(st.one_of(LISTED, PLAIN, PAIRED, OPTIONAL))
def test_from_a_contract_to_its_name_and_back_is_the_same(told: ContractDetails) -> None:
    name = fqme(told)
    assert [fqme(each) for each in ask(name, told)] == [name]
    assert market(told, ()).fqme == name
    assert name == name.lower()


@given(OPTIONAL, OPTIONAL)
def test_different_options_have_different_names(one: ContractDetails, two: ContractDetails) -> None:
    assume(one.contract.strike != two.contract.strike or one.contract.symbol != two.contract.symbol)
    assert fqme(one) != fqme(two)


@given(st.text(max_size=30))
def test_any_text_means_something_or_is_refused_by_name(text: str) -> None:
    try:
        said = parse(text, TODAY).whole.endswith(".ib")
    except Refused as refused:
        said = isinstance(refused.fault, InvalidParameter)
    assert said
