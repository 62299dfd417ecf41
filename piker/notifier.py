"""piker-notify: tells a person what happens to orders, accounts and their data.

    python -m piker.notifier

Runs outside the sandbox, as the person's own, and knows no secret; it talks to emsd's door for
looking alone. What to tell is decided in
`piker.core.notices`; it is told by `notify-send`, or by the command that the configuration names,
with a title and a text after its words; where there is neither, the log has it all the same. What
happened long before it began is not told.

Task tree:

    run
    ├─ _follow_orders     emsd's orders, from a little before it began
    ├─ _follow_accounts   emsd's accounts, and a halt
    ├─ _follow_data       how emsd finds the markets that it watches
    ├─ _judge             tells of markets and accounts that stay away
    └─ _tell              one notice after another
"""

import logging
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial

import trio

from piker import client, clock, config, log
from piker.core.backoff import Backoff
from piker.core.mirror import Change, Mirror
from piker.core.notices import (
    RECENT_NS,
    Notice,
    Outages,
    of_accounts,
    of_order,
    of_refusal,
    recent,
    with_orders,
)
from piker.errors import Refused, Unreachable, local_time
from piker.interfaces.orders import Accounts, AccountsReply, Timeline, TimelineReply
from piker.interfaces.service import SERVICE, Health, HealthReply
from piker.notify import Manager

MAX_WAITING = 100
"""Notices that wait to be told; more are only logged, and counted in the next one that is told."""
TELL_TIMEOUT_S = 10.0
"""A command that takes longer is killed, and the notice is only logged."""
NEWEST = 500
"""Events that are looked through at the start for what has just happened."""
NOTIFY_SEND = ("notify-send", "--app-name=piker")

Tell = Callable[[Notice], Awaitable[None]]

logger = logging.getLogger(__name__)


class Notifier:
    """Follows, and tells."""

    def __init__(self, tell: Tell) -> None:
        self._tell_person = tell
        self._since_ns = clock.wall_ns() - RECENT_NS
        self._mirror = Mirror()
        self._first_seq: int | None = None
        """The newest event in the book at the start."""
        self._caught_up = False
        self._live: dict[str, bool | None] = {}
        self._accounts: AccountsReply | None = None
        self._problem = ""
        """What emsd says that it can't work for."""
        self._outages = Outages()
        self._send, self._receive = trio.open_memory_channel[Notice](MAX_WAITING)
        self._lost = 0
        self._moved = trio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_again, self._follow_orders, self._take_refusal)
            nursery.start_soon(_again, self._follow_accounts)
            nursery.start_soon(_again, self._follow_data)
            nursery.start_soon(self._judge)
            nursery.start_soon(self._tell)

    # --- what is told

    def _take(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            text = notice.text.replace("\n", "; ")
            logger.info("%s", f"{notice.title}: {text}" if text else notice.title)
            try:
                self._send.send_nowait(notice)
            except trio.WouldBlock:
                self._lost += 1

    async def _tell(self) -> None:
        async for notice in self._receive:
            lost, self._lost = self._lost, 0
            more = f"\n({lost} more before this are only in the log)" if lost else ""
            await self._tell_person(replace(notice, text=notice.text + more))

    # --- what is followed

    async def _follow_orders(self, got: Callable[[], None]) -> None:
        """Changes with no `before` are the book at the start, and what is new in it."""
        async with aclosing(client.follow_orders(self._mirror, _say_lost)) as replies:
            async for changes in replies:
                got()
                self._problem = ""
                self._take_changes(changes)
                self._moved.set()
                if self._first_seq is None:
                    self._first_seq = self._mirror.since
                if self._first_seq is not None and not self._caught_up:
                    await self._catch_up(self._first_seq)

    async def _catch_up(self, seq: int) -> None:
        """Tell of what is in the book at the start, but has just happened. Raises Unreachable."""
        try:
            oids = await _changed_since(self._since_ns, seq)
            async with client.viewing() as emsd:
                accounts = (await emsd.call(Accounts(), AccountsReply)).accounts
                lives = [await emsd.call(Timeline(oid=oid), TimelineReply) for oid in oids]
        except Refused as no:
            logger.warning("what has just happened is not told: %s", no)
        else:
            self._live = {each.account: each.live for each in accounts}
            changes = recent((each.events for each in lives), self._since_ns, seq)
            self._take_changes(changes, dated=True)
        self._caught_up = True

    def _take_changes(self, changes: Iterable[Change], *, dated: bool = False) -> None:
        for each in changes:
            notice = of_order(each, self._live.get(each.life.order.account))
            if notice:
                self._take([_dated(notice, each) if dated else notice])

    def _take_refusal(self, error: Unreachable | Refused) -> None:
        """Told once; that emsd is restarted isn't told."""
        _say_lost(error)
        if isinstance(error, Refused) and str(error) != self._problem:
            self._problem = str(error)
            self._take([of_refusal(self._problem)])

    async def _follow_accounts(self, got: Callable[[], None]) -> None:
        async with (
            client.viewing() as emsd,
            aclosing(emsd.replies(Accounts(), AccountsReply)) as replies,
        ):
            async for reply, _ in replies:
                got()
                self._live = {each.account: each.live for each in reply.accounts}
                self._take(of_accounts(self._accounts, reply))
                self._accounts = reply
                for account in reply.accounts:
                    self._take(self._outages.take_account(account, trio.current_time()))
                self._moved.set()

    async def _follow_data(self, got: Callable[[], None]) -> None:
        """How emsd finds the markets in which something is armed or open."""
        async with (
            client.open_daemon("emsd", None, SERVICE) as emsd,
            aclosing(emsd.replies(Health(), HealthReply)) as replies,
        ):
            async for reply, _ in replies:
                got()
                self._take(self._outages.take_data(reply.components, trio.current_time()))
                self._moved.set()

    async def _judge(self) -> None:
        while True:
            wanted = with_orders(self._mirror.lives.values())
            self._take(self._outages.judge(wanted, trio.current_time()))
            due_s = self._outages.due_s(wanted)
            with trio.CancelScope(deadline=float("inf") if due_s is None else due_s):
                await self._moved.wait()
            self._moved = trio.Event()


def _say_lost(error: Unreachable | Refused) -> None:
    logger.info("tries again: %s", error)


def _dated(notice: Notice, change: Change) -> Notice:
    """What happened before anybody listened, with its time: it may have been told before."""
    if change.news is None:
        return notice
    return replace(notice, text=f"{notice.text}\nat {local_time(change.news.time_ns)}")


async def _changed_since(time_ns: int, seq: int) -> list[str]:
    """Orders with an event since a time, up to an event, among the newest."""
    oids: dict[str, None] = {}
    async with aclosing(client.orders(max(0, seq - NEWEST))) as replies:
        async for reply in replies:
            oids |= {news.oid: None for news in reply.events if news.time_ns >= time_ns}
            if reply.seq >= seq:
                break
    return list(oids)


async def _again(
    once: Callable[[Callable[[], None]], Awaitable[None]],
    lost: Callable[[Unreachable | Refused], None] = _say_lost,
) -> None:
    """Run `once` for ever; it calls what it is given when it has got something."""
    backoff = Backoff()
    while True:
        try:
            await once(backoff.reset)
        except (Unreachable, Refused) as error:
            lost(error)
        await trio.sleep(backoff.pause())


async def by_log(notice: Notice) -> None:
    """Nothing more: every notice is logged."""


async def by_command(command: Sequence[str], notice: Notice) -> None:
    """Have a command tell it; without one, notify-send."""
    words = command or (*NOTIFY_SEND, f"--urgency={notice.urgency}", "--")
    await _run([*words, notice.title, notice.text])


async def _run(words: Sequence[str]) -> None:
    """Run a command; what goes wrong with it is logged, and the notice has been."""
    with trio.move_on_after(TELL_TIMEOUT_S) as scope:
        try:
            done = await trio.run_process(
                words, check=False, stdin=subprocess.DEVNULL, capture_stderr=True
            )
            if done.returncode:
                problem = done.stderr.decode(errors="replace").strip()
                logger.warning("%s ended with %d: %s", words[0], done.returncode, problem)
        except OSError as error:
            logger.warning("%s can't be run: %s", words[0], error.strerror)
    if scope.cancelled_caught:
        logger.warning("%s took more than %g s", words[0], TELL_TIMEOUT_S)


def _command() -> Sequence[str]:
    """What the configuration names. That it is broken is told: emsd can't work with it either."""
    try:
        return config.load().notify.command
    except Refused as no:
        extra = log.fields(message_id=log.CANT_WORK)
        logger.error("knows no notify.command until it is restarted: %s", no, extra=extra)
        return ()


def _way(command: Sequence[str]) -> tuple[Tell, str]:
    """How a person is told, and that in a line."""
    if command or shutil.which(NOTIFY_SEND[0]):
        return partial(by_command, command), f"tells by {command[0] if command else NOTIFY_SEND[0]}"
    return by_log, f"tells by its log only: no {NOTIFY_SEND[0]}, no notify.command set"


async def _main(tell: Tell) -> None:
    await Notifier(tell).run()


def main() -> int:
    """python -m piker.notifier; ended by a signal."""
    log.set_up("piker-notify", None)
    tell, status = _way(_command())
    logger.info("%s", status)
    with closing(Manager()) as manager:
        manager.say(status)
        manager.notify("READY=1")
        trio.run(_main, tell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
