"""The halt: a latch on disk, in emsd's state directory, that outlives restarts.

emsd reads it before every send; `piker halt` has emsd set it, and piker.panic does without emsd.
While the file is there no new order leaves, whatever the file holds.
"""

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from piker.store import durable

NAME = "halt"


class Latch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That all is halted, and why."""

    reason: Annotated[str, Meta(description="who or what halted it, for people")]
    since_ns: Annotated[int, Meta(description="when, UTC ns; 0: not known")]


def read(directory: Path) -> Latch | None:
    """The latch, if it is set. One that can't be read halts as well, and says so."""
    path = f"{directory}/{NAME}"
    if not os.path.lexists(path):  # asked before everything that leaves, so it has to cost little
        return None
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Latch)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return Latch(reason=f"{path} is there, but says nothing: {error}", since_ns=0)


def set(directory: Path, latch: Latch) -> None:  # noqa: A001 reads as halt.set
    """Halt. On a full disk the reason may be lost, the halt is not. Raises OSError."""
    path = directory / NAME
    try:
        durable.replace(path, msgspec.json.encode(latch))
    except OSError:
        durable.create(path)


def clear(directory: Path) -> None:
    """Let orders leave again. Raises OSError."""
    durable.remove(directory / NAME)
