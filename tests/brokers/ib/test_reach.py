"""What is found on the way to gateways: each by its name, with what mends it."""

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from piker import paths
from piker.brokers.ib import Settings
from piker.brokers.ib.reach import CLIENT, TO_LOG_IN, TO_START, examine
from piker.brokers.ib.trade import CLIENTS
from piker.brokers.ib.wire import DATA_CLIENTS
from piker.core.diagnosis import Finding
from piker.transport import listen
from tests.fakes.gateway import faults
from tests.fakes.gateway.requests import StartApi
from tests.fakes.gateway.server import Served, a_gateway

pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.fixture
async def served(tmp_path: Path, virtual_time: None) -> AsyncIterator[Served]:
    """A gateway of this test's, at a Unix socket."""
    async with a_gateway(path=str(tmp_path / "gateway.sock")) as served:
        yield served


async def found(data: str, orders: str = "", **accounts: str) -> list[Finding]:
    """What there is to say of gateways, all under their own check."""
    findings = await examine(Settings(data=data, orders=orders or data, accounts=accounts))
    assert {each.check for each in findings} == {"gateways"}
    assert all(bool(each.mend) == (each.level == "problem") for each in findings)
    return findings


def leads_to(name: str, address: str) -> Path:
    """Have ibgw@NAME be given an address."""
    file = paths.config_directory() / "piker" / "ibgw" / f"{name}.env"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# where it is\nGATEWAY={address}\n")
    return file


async def test_one_that_answers_is_well_and_is_asked_for_nothing(served: Served) -> None:
    (finding,) = await found(served.address, main="DU1234567")
    assert (finding.level, finding.text) == (
        *("ok", f"{served.address}: it answers at {served.address}"),
    )
    assert [type(each.request) for each in served.heard] == [StartApi]


async def test_one_that_has_another_of_our_id_answers_all_the_same(served: Served) -> None:
    served.faults.set(faults.ClientIdInUse())
    assert [each.level for each in await found(served.address)] == ["ok"]
    assert CLIENT not in (*DATA_CLIENTS, *CLIENTS)


async def test_one_that_waits_for_a_login_is_to_be_logged_in_at(served: Served) -> None:
    served.faults.set(faults.SilentLogin())
    (finding,) = await found(served.address)
    assert "does it wait for a login or a second factor?" in finding.text
    assert (finding.level, finding.mend) == ("problem", TO_LOG_IN)


@pytest.mark.parametrize("fault", [faults.CloseInHandshake(), faults.SpeakHttp()])
async def test_one_that_turns_everybody_away_says_what_it_was(
    served: Served, fault: faults.Fault
) -> None:
    served.faults.set(fault)
    (finding,) = await found(served.address)
    assert (finding.level, finding.mend) == ("problem", TO_START)


async def test_one_that_is_not_there_is_to_be_started() -> None:
    (finding,) = await found("tcp:127.0.0.1:1")
    assert finding.text.startswith("tcp:127.0.0.1:1: no gateway at tcp:127.0.0.1:1: ")
    assert (finding.level, finding.mend) == ("problem", TO_START)


async def test_by_its_name_the_sockets_of_its_units_and_its_address_are_looked_at() -> None:
    silent, unset = await found("paper", main="DU1234567")
    assert silent.text == "paper: nobody listens for iblane@paper.socket and ibgw@paper.socket"
    assert silent.mend == (
        "systemctl --user enable --now iblane@paper.socket ibgw@paper.socket, or, under pikerd, "
        'providers.ib.data = "tcp:HOST:PORT"'
    )
    assert unset.text.endswith(
        "piker/ibgw/paper.env: expected GATEWAY=ADDRESS:PORT, in numbers, was none"
    )
    assert "systemctl --user restart ibgw@paper" in unset.mend


async def test_sockets_that_listen_are_not_connected_to(served: Served) -> None:
    leads_to("paper", served.address.removeprefix("unix:"))
    for units in ("iblane", "ibgw"):
        paths.socket_path(units, "paper").parent.mkdir(parents=True, mode=0o700)
    lane, way = (str(paths.socket_path(each, "paper")) for each in ("iblane", "ibgw"))
    with closing(listen(lane)) as of_lane, closing(listen(way)) as of_way:
        assert [each.level for each in await found("paper")] == ["ok"]
        for each in (of_lane, of_way):
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.accept()
    silent, answers = await found("paper")
    assert "iblane@paper.socket and ibgw@paper.socket" in silent.text
    assert answers.level == "ok"


async def test_a_socket_of_a_unit_that_is_set_by_its_path_is_not_connected_to() -> None:
    way = paths.socket_path("ibgw", "paper")
    way.parent.mkdir(parents=True, mode=0o700)
    with closing(listen(str(way))) as of_way:
        (finding,) = await found(f"unix:{way}")
        of_way.setblocking(False)
        with pytest.raises(BlockingIOError):
            of_way.accept()
    assert (finding.level, finding.text) == ("ok", f"unix:{way}: somebody listens there")
    (finding,) = await found(f"unix:{way}")
    assert (finding.level, finding.text) == ("problem", f"unix:{way}: nobody listens there")


async def test_who_only_has_market_data_has_one_gateway_and_who_trades_elsewhere_two(
    served: Served,
) -> None:
    assert len(await found(served.address, "tcp:127.0.0.1:1")) == 1
    assert [each.level for each in await found(served.address, "tcp:127.0.0.1:1", a="U1")] == (
        ["ok", "problem"]
    )


@pytest.mark.parametrize("address", ["localhost:4001", "127.0.0.1", "127.0.0.1:x", "[::1]:4001"])
async def test_an_address_that_ibgw_makes_nothing_of_is_shown(address: str) -> None:
    file = leads_to("paper", address)
    *_, unset = await found("paper")
    assert unset.text == (
        f"paper: {file}: expected GATEWAY=ADDRESS:PORT, in numbers, was {address!r}"
    )


async def test_an_address_that_is_no_text_is_shown_as_far_as_it_is() -> None:
    leads_to("paper", "").write_bytes(b"GATEWAY=\xff:4001\n")
    *_, unset = await found("paper")
    assert unset.text.endswith("in numbers, was '\ufffd:4001'")


async def test_what_can_be_no_hosts_name_is_told() -> None:
    (finding,) = await found("tcp:a..b:4001")
    assert finding.text.startswith("tcp:a..b:4001: no gateway at tcp:a..b:4001: ")


async def test_what_can_name_no_gateway_is_told() -> None:
    (finding,) = await found("a gateway")
    assert finding.text == "a gateway: expected NAME, tcp:HOST:PORT or unix:/PATH"
