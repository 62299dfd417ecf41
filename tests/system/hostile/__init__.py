"""hostile: a provider that turns on the daemons beside it, to show what its sandbox leaves.

A search runs every attack of attacks.py from inside datad@hostile. Its pattern is the prey, as
prey.py has it, in JSON; each match is one attack, its description what came of it.
"""

from piker import brokers

PROVIDER = brokers.Provider(
    name="hostile",
    doc="Attacks the daemons beside it; for tests.",
    endpoints={
        "datad": {
            "open_venue": f"{__name__}.feed:open_venue",
            "get_mkt_info": f"{__name__}.feed:get_mkt_info",
            "stream_quotes": f"{__name__}.feed:stream_quotes",
            "open_symbol_search": f"{__name__}.feed:open_symbol_search",
        }
    },
)
