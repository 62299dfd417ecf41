"""What the benchmarks share: a place of their own, daemons in it, and other processes."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]


class Rig:
    """A directory with an environment of its own, and processes that end with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.gate = directory / "gate"
        self._running: list[subprocess.Popen[str]] = []
        self.environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(directory),
            "XDG_CONFIG_HOME": str(directory),
            "XDG_STATE_HOME": str(directory),
            "PIKER_ETC": str(directory),
            "PYTHONPATH": f"{ROOT}:{directory}",
        }
        os.mkfifo(self.gate)
        _install_burst(directory)

    def socket(self, daemon: str, instance: str) -> str:
        """Where a daemon listens."""
        return str(self.directory / "piker" / daemon / f"{instance}.sock")

    def configure(self, text: str) -> None:
        """Write piker.toml."""
        (self.directory / "piker.toml").write_text(text)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a Python process; talk to it by its standard input and output."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        return process

    def start_daemon(self, *arguments: str, sockets: int = 1) -> "subprocess.Popen[str]":
        """Start a daemon by hand and wait until it listens on so many sockets."""
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        assert process.stderr is not None
        listening = (line for line in process.stderr if "listens on" in line)
        if len(list(islice(listening, sockets))) < sockets:
            raise RuntimeError(f"{arguments} did not come up")
        threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
        return process

    def open_gate(self) -> None:
        """Let the burst begin."""
        self.gate.write_bytes(b"")

    def end(self, process: "subprocess.Popen[str]") -> None:
        """End a process that was started here."""
        process.terminate()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        process.wait()
        self._running.remove(process)

    def end_all(self) -> None:
        """End all of them."""
        for process in list(self._running):
            self.end(process)


def _drain(output: IO[str]) -> None:
    """Read what a daemon logs, so that it never waits for room; until it, or the rig, ends."""
    with suppress(ValueError, OSError):
        for _ in output:
            pass


@contextmanager
def rig() -> Iterator[Rig]:
    """A rig, taken down at the end."""
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        made = Rig(Path(directory))
        try:
            yield made
        finally:
            made.end_all()


def said(processes: Sequence["subprocess.Popen[str]"]) -> list[str]:
    """The next line of each."""
    lines = []
    for process in processes:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{process.args!r} ended")
        lines.append(line.strip())
    return lines


def _install_burst(directory: Path) -> None:
    """Make the benchmarks' provider one that is installed."""
    info = directory / "piker_bench-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: piker-bench\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[piker.brokers]\nburst = tests.bench.burst\n")
