"""What is known of a market's past: which time is covered, by what, and what is not to be had.

And what is found where that is kept that isn't as it should be.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

How = Literal["live", "backfilled", "empty", "imported"]


class Span(Struct, frozen=True, kw_only=True):
    """A stretch of whole periods of which all bars that there are are known, and how."""

    from_ns: Annotated[int, Meta(description="its first instant, UTC ns")]
    to_ns: Annotated[int, Meta(description="the first instant after it, UTC ns")]
    how: Annotated[
        How,
        Meta(
            description="live: seen as it happened; backfilled: the provider's; empty: the "
            "provider says that nobody traded; imported: from somebody else's file"
        ),
    ]


class Unavailable(Struct, frozen=True, kw_only=True):
    """A stretch that the provider will not give, however often it is asked."""

    from_ns: Annotated[int, Meta(description="its first instant, UTC ns")]
    to_ns: Annotated[int, Meta(description="the first instant after it, UTC ns")]
    reason: Annotated[str, Meta(description="the provider's, for people")]
    asked_ns: Annotated[int, Meta(description="when it said so, UTC ns")]


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something on disk that isn't as it should be, or that a person should know of."""

    path: Annotated[str, Meta(description="the file or directory")]
    market: Annotated[str, Meta(description="fqme; empty: of none in particular")] = ""
    period_s: Annotated[int, Meta(description="of which bars; 0: of none")] = 0
    row: Annotated[int | None, Meta(description="which of the file's, from 0")] = None
    time_ns: Annotated[int | None, Meta(description="the row's time, UTC ns")] = None
    text: Annotated[str, Meta(description="what is there and what was expected, for people")]
    done: Annotated[str, Meta(description="what was done about it; empty: nothing")] = ""
    harmless: Annotated[
        bool, Meta(description="nothing is wrong with what is stored: a person should look at it")
    ] = False
