"""The mark that emsd has something to live for: what brings it back after a boot or a login.

emsd keeps a file in its state directory while anything is armed or open, so that whoever looks
(piker.resume) needn't understand its journal.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from piker.store import durable

NAME = "busy"


class Mark(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That something is armed or open."""

    reason: Annotated[str, Meta(description="what, for people")]
    providers: Annotated[
        tuple[str, ...], Meta(description="whose markets and accounts it is about, by name")
    ] = ()


def set_busy(directory: Path, reason: str, providers: Iterable[str] = ()) -> None:
    """Mark that something is armed or open; before the first order is. Raises OSError."""
    mark = Mark(reason=reason, providers=tuple(sorted(providers)))
    if busy(directory) != mark:
        durable.replace(directory / NAME, msgspec.json.encode(mark))


def clear_busy(directory: Path) -> None:
    """Mark that nothing is armed or open any more. Raises OSError."""
    durable.remove(directory / NAME)


def busy(directory: Path) -> Mark | None:
    """The mark, if there is one. One that can't be read counts: to look costs little."""
    path = directory / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Mark)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return Mark(reason=f"{path} is there, but says nothing: {error}")
