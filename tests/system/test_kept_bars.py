"""Bars on disk, on a real systemd: what a stop, a kill, an upgrade and a removal leave of them."""

from pathlib import Path

import pytest
from deb import Package, next_version
from machine import USER, Machine

from piker.core.bars import NS
from tests.fakes.simvenue import MARKET
from tests.system.attacking import OF_A_USER, OF_THE_SYSTEM, Manager
from tests.system.shelves import UNIT, Shelf

pytestmark = pytest.mark.system
both = pytest.mark.parametrize("release", ["bookworm", "trixie"])
managers = pytest.mark.parametrize("manager", [OF_A_USER, OF_THE_SYSTEM], ids=["user", "system"])

NOT_INSTALLED = "nothing is kept on disk: the package piker-history isn't installed"
DAEMONS = (UNIT, "emsd", "paperboi@sim", "brokerd@sim", "samplerd")
USERS = ("piker-datad", "piker-emsd", "piker-brokerd", "piker-paperboi", USER)


@pytest.fixture
def manager() -> Manager:
    """Whose systemd runs datad, where a test doesn't say."""
    return OF_A_USER


@pytest.fixture
def bare(machine: Machine, manager: Manager, release: str) -> Shelf:
    """A datad that keeps bars, where piker-history isn't installed."""
    return Shelf.on(machine, manager, release)


@pytest.fixture
def shelf(machine: Machine, manager: Manager, release: str, package: Package) -> Shelf:
    """The same with piker-history."""
    machine.install(package.history)
    return Shelf.on(machine, manager, release)


@both
@managers
def test_a_stop_puts_bars_on_disk_and_a_start_has_them_in_shared_memory(shelf: Shelf) -> None:
    before = shelf.await_seconds()
    shelf.systemctl("stop", UNIT)
    assert shelf.show(UNIT, "Result") == "success"
    shelf.systemctl("start", UNIT)
    shelf.await_bars_of(before)
    assert [bar for bar in shelf.kept() if bar in before] == before
    (gap,) = shelf.await_gaps(1)
    assert gap.from_ns >= before[-1].time_ns + NS
    assert MARKET in shelf.piker("history", "ls")
    assert shelf.piker("history", "audit") == "all is well\n"


@both
@managers
def test_a_killed_datad_loses_no_bar_and_leaves_its_disk_in_order(shelf: Shelf) -> None:
    before = shelf.await_seconds()
    shelf.kill()
    shelf.await_bars_of(before)
    shelf.systemctl("restart", UNIT)
    assert [bar for bar in shelf.kept() if bar in before] == before
    assert shelf.piker("history", "audit") == "all is well\n"


@both
def test_bars_of_a_user_are_that_users_and_no_other_daemon_sees_them(shelf: Shelf) -> None:
    shelf.await_seconds()
    shelf.systemctl("restart", UNIT)
    assert shelf.permissions() == {f"d {USER} 700", f"f {USER} 600"}
    (path, *_) = shelf.files()
    assert [unit for unit in DAEMONS if shelf.sees(unit, path)] == [UNIT]


@both
@pytest.mark.parametrize("manager", [OF_THE_SYSTEM], ids=["system"])
def test_bars_of_the_system_are_datads_and_nobody_else_sees_or_reads_them(shelf: Shelf) -> None:
    shelf.await_seconds()
    shelf.systemctl("restart", UNIT)
    assert shelf.permissions() == {"d piker-datad 700", "f piker-datad 600"}
    (path, *_) = shelf.files()
    assert [unit for unit in DAEMONS if shelf.sees(unit, path)] == [UNIT]
    assert [name for name in USERS if shelf.may_read(name, path)] == ["piker-datad"]


@both
@managers
def test_piker_history_may_come_to_a_desk_at_work_and_go(bare: Shelf, package: Package) -> None:
    before = bare.await_seconds()
    for asked in (["ls"], [MARKET], ["gaps", MARKET], ["audit"]):
        assert NOT_INSTALLED in bare.piker("history", *asked, status=1)
    bare.machine.install(package.history)
    bare.await_bars_of(before)
    bare.systemctl("restart", UNIT)
    assert [bar for bar in bare.kept() if bar in before] == before
    there = bare.files()
    bare.machine.run(["dpkg", "--remove", "piker-history"])
    bare.await_bars_of(before)
    assert set(there) <= set(bare.files())
    assert NOT_INSTALLED in bare.piker("history", "ls", status=1)
    bare.machine.install(package.history)
    assert bare.piker("history", "audit") == "all is well\n"


@both
@managers
def test_an_upgrade_of_both_packages_loses_no_bar(
    shelf: Shelf, package: Package, tmp_path: Path
) -> None:
    before = shelf.await_seconds()
    pid = shelf.pid()
    files = (package.fast, package.history)
    shelf.machine.install(*(next_version(each, tmp_path) for each in files))
    shelf.await_bars_of(before)
    assert shelf.pid() != pid
    assert [bar for bar in shelf.kept() if bar in before] == before
    assert shelf.piker("history", "audit") == "all is well\n"
