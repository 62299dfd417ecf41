"""Bad input, as a person meets it: it is refused by name, with the value and what may be.

Orders are refused by emsd, before anything of them is on its way; an address that leads to no
gateway, or to one that can't be used, is said by both daemons' ends.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from piker.brokers import VenueLost
from piker.brokers.ib import Settings
from piker.brokers.ib.feed import get_mkt_info, open_venue
from piker.errors import say
from piker.interfaces.broker import InvalidOrder, UnknownAccount
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket
from piker.interfaces.orders import AccountUnreachable, NoMarketData, NotCalledLive
from tests.brokers.ib.test_trade import a_dialog
from tests.brokers.ib.trading import AAPL, a_house, an_order
from tests.fakes.gateway.wire import frame
from tests.fakes.tradinghouse import configure, flowing_time

__all__ = ["flowing_time"]

ES, MNQ, SPY = "es.cme.20270319.ib", "mnq.cme.20270319.ib", "spy.smart.20270319"
WRONG: dict[str, tuple[dict[str, Any], type, str]] = {
    "an account": ({"account": "main"}, UnknownAccount, "main|ib.main"),
    "an account's label": ({"account": "ib.mian"}, UnknownAccount, "ib.mian|ib.main"),
    "a contract": ({"market": "nosuch.nasdaq.ib"}, NoSuchMarket, "nosuch.nasdaq.ib"),
    "a day that is no expiry": ({"market": "es.cme.20270320.ib"}, NoSuchMarket, ES),
    "an expiry that is over": (
        {"market": "es.cme.20200320.ib"},
        NoMarketData,
        "expected an expiry from 20270115 on, or none for the front month|es.cme.20200320.ib",
    ),
    "a strike": ({"market": f"{SPY}.c777.ib"}, NoSuchMarket, f"{SPY}.c510.ib"),
    "an ambiguous symbol": ({"market": "san.ib"}, AmbiguousMarket, "san.nyse.ib|san.bm.ib"),
    "a price off its band": (
        {"market": "asml.aeb.ib", "limit": Decimal("600.01"), "size": Decimal(1)},
        InvalidOrder,
        "limit|600.01|a multiple of 0.05, as 600.00 or 600.05",
    ),
    "a fraction": (
        {"market": MNQ, "limit": Decimal(18000), "size": Decimal("0.5")},
        InvalidOrder,
        "size|0.5|a multiple of 1",
    ),
    "a price below 0": ({"limit": Decimal(-5)}, InvalidOrder, "limit|-5|above 0"),
}


@pytest.mark.usefixtures("flowing_time")
@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_with_an_order_is_named_with_what_may_be(home: Path, name: str) -> None:
    changed, fault, words = WRONG[name]
    async with a_house(home) as house:
        await house.opens(an_order())
        no = await house.meanwhile(house.refusal(an_order("o-2", **changed)))
        assert isinstance(no, fault)
        assert [each for each in words.split("|") if each not in say(no)] == []
    assert house.gateway.show().placed == ("o-1",)


@pytest.mark.usefixtures("flowing_time")
async def test_a_label_that_is_not_set_is_told_before_its_gateway_is_asked_or_real_money_meant(
    home: Path,
) -> None:
    async with a_house(home) as house:
        configure('[providers.ib]\naccounts = { main = "DU1234567" }\n')
        await house.restart()
        mistyped = await house.meanwhile(house.refusal(an_order(account="ib.mian")))
        right = await house.meanwhile(house.refusal(an_order()))
    assert mistyped == UnknownAccount(account="ib.mian", allowed=("ib.main",))
    assert isinstance(right, NotCalledLive)


@pytest.mark.usefixtures("flowing_time")
async def test_an_account_that_the_gateway_lacks_is_named_with_those_that_it_has(
    home: Path,
) -> None:
    async with a_house(home, accounts={"main": "DU7654321"}) as house:
        no = await house.meanwhile(house.refusal(an_order()))
        assert isinstance(no, AccountUnreachable)
        assert "doesn't have ib.main (DU7…21), it has DU1…67" in no.reason
        assert house.link().state == "degraded"


# --- what isn't a gateway, or not one that we can speak with

TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
PORT = "that is no gateway|see that data and orders, in [providers.ib] of piker.toml, lead to"
OTHERS: dict[str, tuple[bytes, str]] = {
    "a web server": (b"HTTP/1.1 400 Bad Request\r\n\r\n", f"{PORT}|HTTP/1.1 400"),
    "a TLS server": (TLS_ALERT, PORT),
    "an SSH server": (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", f"{PORT}|SSH-2.0-OpenSSH"),
    "a greeting of lines": (b"220 mail.example.org ESMTP\r\n", f"{PORT}|220 mail"),
    "nothing but zeros": (bytes(64), PORT),
    "a frame of garbage": (frame("garbage", "1"), f"{PORT}|garbage"),
    "a version and more": (frame("178", "20270115 08:00:00 UTC") * 2, f"{PORT}|it went on with"),
    "an older gateway": (
        frame("151", "20270115 08:00:00 UTC"),
        "speaks version 151, expected 176 to 178|update the gateway",
    ),
    "a newer gateway": (
        frame("201", "20270115 08:00:00 UTC"),
        "speaks version 201, expected 176 to 178|take an older gateway",
    ),
    "half a frame": (frame("178", "2027")[:6], "does it wait for a login"),
    "silence": (b"", "does it wait for a login or a second factor?"),
}


@asynccontextmanager
async def a_server(home: Path, says: bytes) -> AsyncIterator[str]:
    """Something that says this to whoever has spoken first. Gives its address."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(says)
            await trio.sleep_forever()

    bound = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await bound.bind(str(home / "other.sock"))
    bound.listen()
    async with trio.open_nursery() as nursery:
        listeners = [trio.SocketListener(bound)]
        nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
        yield f"unix:{home / 'other.sock'}"
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("virtual_time")
@pytest.mark.parametrize("name", OTHERS)
async def test_what_is_no_gateway_is_said_with_what_to_do(home: Path, name: str) -> None:
    says, words = OTHERS[name]
    async with a_server(home, says) as address:
        async with a_dialog(address) as listener:
            await listener.until(lambda: words.split("|")[0] in listener.dialog.link.reason)
            reasons = [listener.dialog.link.reason]
        async with open_venue(Settings(data=address)) as venue:
            await trio.sleep(30)
            with pytest.raises(VenueLost) as lost:
                await get_mkt_info(venue, AAPL)
            reasons.append(str(lost.value))
    assert [each for each in words.split("|") for said in reasons if each not in said] == []
