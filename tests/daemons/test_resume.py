"""Resume: after a boot, emsd comes back by a connection if it has orders to look after."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import trio

from piker import paths
from piker.interfaces import Interface
from piker.interfaces.service import SERVICE, Health, HealthReply
from piker.interfaces.supervisor import SUPERVISOR, Done, Restart, Start, Stop, Units, UnitsReply
from piker.store import marks
from piker.transport import listen
from piker.varlink import Server, Stream

SOCKETS_OF_SIM = ["datad@sim.socket", "paperboi@sim.socket", "brokerd@sim.socket"]


class Emsd:
    """What says how it is, and counts who asks."""

    def __init__(self, state: Literal["running", "failed"] = "running") -> None:
        self.asked = 0
        self.state = state

    async def health(self, call: Health, stream: Stream | None) -> HealthReply:
        self.asked += 1
        return HealthReply(state=self.state, since_ns=0, status="2 armed")


class Pikerd:
    """A manager that notes what it is told to start."""

    def __init__(self) -> None:
        self.started: list[str] = []

    async def start(self, call: Start) -> Done:
        self.started.append(call.unit)
        return Done()

    async def stop(self, call: Stop) -> Done:
        raise NotImplementedError

    async def restart(self, call: Restart) -> Done:
        raise NotImplementedError

    async def units(self, call: Units, stream: Stream | None) -> UnitsReply:
        raise NotImplementedError


@asynccontextmanager
async def served(handlers: Mapping[str, tuple[Interface, object]]) -> AsyncIterator[None]:
    """Daemons that listen, by name."""
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for daemon, (interface, handler) in handlers.items():
                listener = stack.enter_context(listen(str(paths.socket_path(daemon))))
                nursery.start_soon(Server(daemon, {interface: handler}).serve, [listener])
            yield
            nursery.cancel_scope.cancel()


async def resume(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """`python -m piker.resume`, to its end."""
    run = partial(trio.run_process, check=False, capture_stdout=True, capture_stderr=True)
    with trio.fail_after(60):
        return await run([sys.executable, "-m", "piker.resume", *arguments])


def mark(*providers: str) -> None:
    marks.set_busy(paths.state_of("emsd"), "2 armed", providers)


async def test_without_a_mark_nobody_is_asked() -> None:
    emsd = Emsd()
    async with served({"emsd": (SERVICE, emsd)}):
        done = await resume()
    assert (done.returncode, done.stderr, emsd.asked) == (0, b"", 0)


async def test_with_a_mark_emsd_is_asked_how_it_is() -> None:
    mark()
    emsd = Emsd()
    async with served({"emsd": (SERVICE, emsd)}):
        done = await resume()
    assert (done.returncode, emsd.asked) == (0, 1)
    assert "INFO emsd looks after its orders again: 2 armed: 2 armed" in done.stderr.decode()


async def test_an_emsd_that_can_not_work_is_a_failure_with_its_reason() -> None:
    mark()
    async with served({"emsd": (SERVICE, Emsd("failed"))}):
        done = await resume()
    assert done.returncode == 1
    assert "ERROR emsd is needed, but can't work: 2 armed: 2 armed" in done.stderr.decode()


async def test_its_providers_are_listened_for_first_by_pikerd_where_one_runs() -> None:
    mark("sim")
    emsd, pikerd = Emsd(), Pikerd()
    async with served({"emsd": (SERVICE, emsd), "pikerd": (SUPERVISOR, pikerd)}):
        assert (await resume()).returncode == 0
    assert (pikerd.started, emsd.asked) == (SOCKETS_OF_SIM, 1)


def install_systemctl(home: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program of that name before all others."""
    (home / "bin").mkdir()
    program = home / "bin" / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{home}/bin:{os.environ['PATH']}")


async def test_without_pikerd_systemd_is_asked_to_listen(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_systemctl(home, monkeypatch, f'echo "$@" > {home}/asked')
    mark("sim", "no provider; --force")
    async with served({"emsd": (SERVICE, Emsd())}):
        assert (await resume()).returncode == 0
    asked = (home / "asked").read_text().split()
    assert asked == ["--user", "start", "--", *SOCKETS_OF_SIM]


async def test_a_manager_that_fails_keeps_nobody_from_starting_emsd(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_systemctl(home, monkeypatch, "echo no bus >&2; exit 1")
    mark("sim")
    emsd = Emsd()
    async with served({"emsd": (SERVICE, emsd)}):
        done = await resume()
    assert (done.returncode, emsd.asked) == (0, 1)
    assert "emsd has to wait for its providers: systemctl failed: no bus" in done.stderr.decode()


async def test_an_emsd_that_does_not_answer_is_a_failure_with_its_reason() -> None:
    mark()
    done = await resume()
    assert done.returncode == 1
    assert "ERROR emsd is needed, but does not answer: 2 armed: emsd" in done.stderr.decode()


async def test_it_takes_no_arguments() -> None:
    done = await resume("sim")
    assert (done.returncode, done.stderr) == (2, b"usage: python -m piker.resume\n")
