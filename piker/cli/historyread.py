"""Somebody else's file, read by a process of its own (historyreader.py).

A file that is made to hurt may have polars ask for more memory than there is, which ends the
process that asks. So another reads it, whose end is an answer too.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import trio

from piker.cli.historyreader import Found, Memory, Words
from piker.store.foreign import Asked, Foreign
from piker.store.foreignfiles import BadFile


async def read(path: Path, asked: Asked, now_ns: int) -> Foreign:
    """All of a file, as `foreign.read`. Raises BadFile."""
    fd = os.memfd_create("piker:foreign", os.MFD_CLOEXEC)
    try:
        found = await _answer(fd, path, asked, now_ns)
        rows = Memory(fd).made(found.rows)
    finally:
        os.close(fd)
    return Foreign(
        rows=rows, read=found.read, bad=found.bad, counts=found.counts, guessed=found.guessed
    )


async def _answer(fd: int, path: Path, asked: Asked, now_ns: int) -> Found:
    zone = asked.zone.key if asked.zone else None
    words = Words(asked.period_s, dict(asked.columns), zone, asked.unit, asked.stamps)
    said = str(fd), str(path), msgspec.json.encode(words).decode(), str(now_ns)
    done = await trio.run_process(
        [sys.executable, "-P", "-m", "piker.cli.historyreader", *said],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        pass_fds=(fd,),
    )
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise BadFile(f"it is torn or damaged: reading it ended with {name}")
    if done.returncode:
        raise RuntimeError(f"expected {path} to be read, was {done.stderr.decode()}")
    found = msgspec.json.decode(done.stdout, type=Found)
    if found.problem:
        raise BadFile(found.problem)
    return found
