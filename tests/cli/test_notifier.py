"""piker-notify: its process, what it runs, and what it says once only."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from piker import clock
from piker.core.notices import PATIENCE_S, Notice
from piker.interfaces.orders import (
    AccountsReply,
    BrokenJournal,
    Orders,
    Timeline,
    TimelineReply,
)
from piker.interfaces.service import (
    SERVICE,
    BrokenConfiguration,
    Component,
    Health,
    HealthReply,
)
from piker.notifier import Notifier
from piker.orders import Acked, Armed, Sending, Submitted, Triggered
from piker.transport import HungUp
from piker.varlink import Stream
from tests.cli import command as commands
from tests.cli.command import Command, running
from tests.cli.conftest import configure
from tests.fakes.scripted_emsd import PAPER, Emsd, fill, listening, order

NOTIFIER = (sys.executable, "-m", "piker.notifier")
P = Decimal("1.20")
OPEN = (Sending(size=Decimal(1000), limit=P, not_after_ns=1), Acked(venue_id="v1"))
SCRIPT = """#!/bin/sh
printf '%s\\n' "$@" . > told
"""
"""Writes its words to a pipe; it waits until they are read."""


class Told:
    """What was told, notice by notice."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def notice(self) -> list[str]:
        """The next one: the words after the command's own."""
        with trio.fail_after(commands.PATIENCE_S):
            text = await trio.to_thread.run_sync(self._path.read_text, abandon_on_cancel=True)
        return text.splitlines()[:-1]


@pytest.fixture
def told(home: Path) -> Told:
    """The command that is configured, which tells the test."""
    script = home / "tell"
    script.write_text(SCRIPT.replace("told", str(home / "told")))
    script.chmod(0o700)
    os.mkfifo(home / "told")
    configure(f"[notify]\ncommand = ['{script}', 'first']\n")
    return Told(home / "told")


def with_an_order() -> Emsd:
    """One with an open paper order."""
    emsd = Emsd()
    emsd.tell("o1", Submitted(order=order()), *OPEN)
    return emsd


@asynccontextmanager
async def notifying(emsd: Emsd) -> AsyncIterator[Command]:
    """The notifier's process, that has the book."""
    async with running(command=NOTIFIER) as command:
        await emsd.until(lambda emsd: emsd.followers == 1)
        yield command


async def test_a_fill_is_a_title_and_a_text_after_the_command_s_words(told: Told) -> None:
    async with listening(with_an_order()) as emsd, notifying(emsd):
        emsd.tell("o1", fill("o1"))
        first, title, *text = await told.notice()
    assert (first, title) == ("first", "Filled")
    assert text == [
        "paper.replay (paper): buy 1000 eurusd.spot.replay, limit 1.20",
        "1000 of 1000 at 1.1",
    ]


def partly_filled(emsd: Emsd, ago_s: float) -> Emsd:
    """With an order, of which all that is known was recorded so long ago."""
    emsd.tell("o1", Submitted(order=order()), *OPEN, fill("o1", 400))
    time_ns = clock.wall_ns() - round(ago_s * 1e9)
    emsd.news[:] = [replace(each, time_ns=time_ns) for each in emsd.news]
    return emsd


async def test_what_was_long_before_it_began_is_not_told(told: Told) -> None:
    emsd = partly_filled(Emsd(), ago_s=60)
    async with listening(emsd), notifying(emsd):
        emsd.tell("o1", fill("o1", 600, exec_id="e2"))
        assert (await told.notice())[1] == "Filled"


async def test_what_was_just_before_is_told_for_emsd_may_be_quicker_to_start(told: Told) -> None:
    emsd = partly_filled(Emsd(), ago_s=5)
    async with listening(emsd), notifying(emsd):
        titles = [(await told.notice())[1]]
        for size in (100, 500):
            emsd.tell("o1", fill("o1", size, exec_id=f"e{size}"))
        titles.append((await told.notice())[1])
        emsd.tell("o1", fill("o1", 1, exec_id="late"))
        titles.append((await told.notice())[1])
    assert titles == ["Partly filled", "Filled", "Late fill"]


class Flighty(Emsd):
    """One that hangs up on the first who asks for an order's life."""

    faithful = False

    async def timeline(self, call: Timeline) -> TimelineReply:
        if not self.faithful:
            self.faithful = True
            raise HungUp("as a test wants it")
        return await super().timeline(call)


async def test_what_was_just_before_is_told_although_emsd_goes_away_meanwhile(told: Told) -> None:
    async with listening(partly_filled(Flighty(), ago_s=5)), running(command=NOTIFIER):
        assert (await told.notice())[1] == "Partly filled"


async def test_after_a_restart_of_emsd_what_came_meanwhile_is_told_and_nothing_again(
    told: Told,
) -> None:
    emsd = with_an_order()
    alert = order("a1", kind="alert", trigger=P, when="above", size=Decimal(0))
    async with running(command=NOTIFIER) as command:
        async with listening(emsd):
            await emsd.until(lambda emsd: emsd.followers == 1)
            emsd.tell("o1", fill("o1"))
            assert (await told.notice())[1] == "Filled"
        emsd.tell("a1", Submitted(order=alert), Armed(when="above", since_ns=0))
        emsd.tell("a1", Triggered(price=P, time_ns=0))
        async with listening(emsd):
            assert (await told.notice())[1] == "ALERT"
        _, _, err = await command.end(signal.SIGTERM)
    assert [" Filled: " in line for line in err.splitlines()].count(True) == 1
    assert emsd.since[:3] == [None, 0, 4]


async def test_a_halt_is_told_as_it_comes(told: Told) -> None:
    async with listening(Emsd()) as emsd, notifying(emsd):
        emsd.accounts_now = AccountsReply(accounts=(PAPER,), halted="too wild")
        emsd.change()
        assert (await told.notice())[1:] == ["Halted", "No new order leaves: too wild"]


async def test_that_emsd_can_not_work_is_told(told: Told) -> None:
    emsd = Emsd()
    emsd.refuses[Orders] = BrokenJournal(path="journal", problem="torn")
    async with listening(emsd), running(command=NOTIFIER):
        _, title, problem, _ = await told.notice()
    assert title == "emsd can't work"
    assert "torn" in problem


async def test_a_command_that_is_not_there_is_logged_with_the_notice() -> None:
    configure("[notify]\ncommand = ['/nonexistent/tell']\n")
    async with listening(with_an_order()) as emsd, notifying(emsd) as command:
        emsd.tell("o1", fill("o1"))
        err = await read_until(command, "can't be run")
    assert " Filled: paper.replay (paper): buy 1000 " in err
    assert "/nonexistent/tell can't be run: No such file or directory" in err


async def read_until(command: Command, words: str) -> str:
    """What it logs, until it has said this."""
    err = ""
    with trio.fail_after(commands.PATIENCE_S):
        while words not in err:
            err += (await command.stderr.receive_some()).decode()
    return err + (await command.stderr.receive_some()).decode() if not err.endswith("\n") else err


@pytest.fixture
def on_the_desktop(told: Told, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """notify-send is there, and tells the test."""
    (home / "tell").rename(home / "notify-send")
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")


@pytest.mark.usefixtures("on_the_desktop")
async def test_a_broken_configuration_does_not_end_it_and_what_emsd_says_of_it_is_told(
    told: Told,
) -> None:
    configure("[notify]\ncommand = 'tell'\n")
    emsd = Emsd()
    emsd.refuses[Orders] = BrokenConfiguration(file="f", key="notify.command", problem="p")
    async with listening(emsd), running(command=NOTIFIER) as command:
        *words, title, _, _ = await told.notice()
        err = await read_until(command, "until it is restarted")
    assert words == ["--app-name=piker", "--urgency=critical", "--"]
    assert title == "emsd can't work"
    assert "key: notify.command" in err


async def test_where_there_is_no_way_to_tell_its_log_does_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    async with listening(with_an_order()) as emsd, notifying(emsd) as command:
        emsd.tell("o1", fill("o1"))
        err = await read_until(command, " Filled: paper.replay (paper): buy 1000 ")
        _, _, rest = await command.end(signal.SIGTERM)
    assert "tells by its log only: no notify-send, no notify.command set" in err
    assert "can't be run" not in err + rest


class Watching(Emsd):
    """One that also says how its markets are."""

    def __init__(self) -> None:
        super().__init__()
        self.components: tuple[Component, ...] = ()

    async def health(self, call: Health, stream: Stream | None) -> HealthReply:
        reply = HealthReply(state="running", since_ns=0, status="", components=self.components)
        if stream is not None:
            await stream.send(reply)
            await trio.sleep_forever()
        return reply


@pytest.mark.usefixtures("virtual_time")
async def test_data_that_stays_dead_is_told_when_it_has_lasted() -> None:
    emsd = Watching()
    emsd.tell("o1", Submitted(order=order()), *OPEN)
    emsd.components = (Component(name=order().market, state="stale", detail="silent for 40 s"),)
    titles_in, titles = trio.open_memory_channel[str](10)

    async def tell(notice: Notice) -> None:
        titles_in.send_nowait(notice.title)

    async with listening(emsd, {SERVICE: emsd}), trio.open_nursery() as nursery:
        nursery.start_soon(Notifier(tell).run)
        assert await titles.receive() == f"No live data of {order().market}"
        assert PATIENCE_S <= trio.current_time() < PATIENCE_S + 5
        nursery.cancel_scope.cancel()
