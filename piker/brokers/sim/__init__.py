"""sim: endless two-sided markets from a seed, any number of them, at any rate.

It trades on a venue of its own, a process apart: `python -m piker.brokers.sim.venue`.
"""

from typing import Annotated

from msgspec import Meta

from piker import brokers

MOST_MARKETS = 100_000


class Settings(brokers.Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person may set for sim."""

    markets: Annotated[
        int, Meta(description="how many there are, 1 to 100000: s0000.xsim.sim, s0001.xsim.sim, …")
    ] = 10
    rate_hz: Annotated[
        float, Meta(description="quotes a second of each market; 0: as fast as possible")
    ] = 10.0
    seed: Annotated[int, Meta(description="the same seed gives the same prices and sizes")] = 1
    venue: Annotated[
        str | None,
        Meta(
            description="socket of the venue to trade on, an absolute path; "
            "default: piker/sim-venue/venue.sock in the runtime directory"
        ),
    ] = None


PROVIDER = brokers.Provider(
    name="sim",
    doc="Endless two-sided markets from a seed.",
    endpoints={
        "datad": {
            "open_venue": "piker.brokers.sim.feed:open_venue",
            "get_mkt_info": "piker.brokers.sim.feed:get_mkt_info",
            "stream_quotes": "piker.brokers.sim.feed:stream_quotes",
            "open_symbol_search": "piker.brokers.sim.search:open_symbol_search",
        },
        "brokerd": {
            "open_trade_dialog": "piker.brokers.sim.trade:open_trade_dialog",
            "check_settings": "piker.brokers.sim.trade:venue_path",
        },
    },
    credentials=("token",),
    settings=Settings,
    limits=brokers.Limits(markets=MOST_MARKETS),
)
