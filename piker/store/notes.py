"""What is kept of a series beside its rows: what is not to be had, and what was asked for."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from piker.coverage import Unavailable
from piker.markets import Market
from piker.store import durable
from piker.store.parquet import PASSED_OVER, Damaged

NAME: Final = f"{PASSED_OVER}series.json"
LOST: Final = (
    "a calendar that an import named is lost with it: import again with --calendar; a backfill "
    "that was under way is to be asked for again"
)
"""What it means where notes can't be read, and what to do. The market is described anew anyway."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A backfill that somebody asked for and that isn't over."""

    from_ns: Annotated[int, Meta(description="back to when, UTC ns")]
    paused: Annotated[bool, Meta(description="it waits to be told to go on")] = False


class Notes(Struct, frozen=True, kw_only=True):
    """What is known of a series that is tied to none of its rows."""

    unavailable: Annotated[
        tuple[Unavailable, ...], Meta(description="what the provider will not give")
    ] = ()
    wanted: Annotated[Wanted | None, Meta(description="what was asked for")] = None
    market: Annotated[Market | None, Meta(description="the market as last described")] = None
    calendar: Annotated[str, Meta(description="by which it is traded, as who imported it says")] = (
        ""
    )


def read(directory: Path) -> Notes:
    """What is noted of the series of this directory. Raises Damaged or OSError."""
    try:
        return msgspec.json.decode((directory / NAME).read_bytes(), type=Notes)
    except FileNotFoundError:
        return Notes()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(str(error)) from error


def write(directory: Path, notes: Notes) -> None:
    """Note this instead. Raises OSError."""
    durable.replace(directory / NAME, msgspec.json.format(msgspec.json.encode(notes)))
