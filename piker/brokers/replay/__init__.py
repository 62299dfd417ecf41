"""replay: recorded markets, played as if they were live. The embedded default.

Every market has a time line that begins when the venue is opened: the recording from its start,
a seam in which the market is closed, the recording again, and so on. Whoever comes later joins
where the line is by then, so that all watchers see one market.
"""

from typing import Annotated

from msgspec import Meta

from piker import brokers


class Settings(brokers.Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person may set for replay."""

    recordings: Annotated[
        tuple[str, ...],
        Meta(
            description="recordings of one's own, NAME.csv, NAME.csv.gz or NAME.parquet, or "
            "directories of them, or that datad recorded to; "
            "one whose name is also a shipped one's is taken in its place"
        ),
    ] = ()
    speed: Annotated[
        float,
        Meta(
            description="times as fast as recorded; 0: as fast as possible. Stamps keep the "
            "recorded spacing: above 1 they run ahead of the wall clock"
        ),
    ] = 1.0
    loop: Annotated[bool, Meta(description="begin again at the end, after a closure")] = True
    start: Annotated[
        str | None,
        Meta(
            description="where to begin, UTC: a time of day such as 13:00, or an instant such as "
            "2016-06-14T13:00:00Z; a recording without it begins at its first session. "
            "Default: what the recording says"
        ),
    ] = None


PROVIDER = brokers.Provider(
    name="replay",
    doc="Recorded markets, played as if they were live.",
    endpoints={
        "datad": {
            "open_venue": "piker.brokers.replay.feed:open_venue",
            "get_mkt_info": "piker.brokers.replay.feed:get_mkt_info",
            "stream_quotes": "piker.brokers.replay.feed:stream_quotes",
            "open_symbol_search": "piker.brokers.replay.search:open_symbol_search",
        }
    },
    settings=Settings,
    runs_ahead=True,
)
