"""What isn't over: by market what rests and what is open, what is unknown, what ends when.

Kept up event by event, so that whoever looks once a second need not count ten thousand orders.
"""

from collections.abc import Set

from piker.orders import Life


class Standing:
    """A tally of the orders and alerts that aren't over."""

    def __init__(self) -> None:
        self.unclosed: dict[str, set[str]] = {}
        """The oids of what isn't over, by market."""
        self.armed: dict[str, set[str]] = {}
        """The oids of what waits for its trigger, by market."""
        self.unknown: set[str] = set()
        self.ends_ns: dict[str, int] = {}
        """When what ends by itself does, UTC ns."""

    @property
    def armed_count(self) -> int:
        """How many wait for their trigger."""
        return sum(map(len, self.armed.values()))

    @property
    def count(self) -> int:
        """How many aren't over."""
        return sum(map(len, self.unclosed.values()))

    @property
    def markets(self) -> Set[str]:
        """Where something isn't over."""
        return self.unclosed.keys()

    def take(self, life: Life) -> None:
        """Follow what became of an order."""
        oid, market = life.order.oid, life.order.market
        _file(self.unclosed, market, oid, belongs=not life.closed)
        _file(self.armed, market, oid, belongs=rests(life))
        if life.state == "unknown":
            self.unknown.add(oid)
        else:
            self.unknown.discard(oid)
        if life.order.expires_ns is not None and not life.closed and not life.cancel:
            self.ends_ns[oid] = life.order.expires_ns
        else:
            self.ends_ns.pop(oid, None)

    def ended_by(self, now_ns: int) -> list[str]:
        """The oids of what ends by now, until it has."""
        return [oid for oid, ends_ns in self.ends_ns.items() if ends_ns <= now_ns]


def rests(life: Life) -> bool:
    """Whether it waits for its trigger. What a venue knows of doesn't, whatever was said before."""
    return life.armed and life.state == "held"


def _file(drawers: dict[str, set[str]], market: str, oid: str, *, belongs: bool) -> None:
    """Have an oid in its market's drawer or not; an empty drawer goes."""
    if belongs:
        drawers.setdefault(market, set()).add(oid)
    elif market in drawers:
        drawers[market].discard(oid)
        if not drawers[market]:
            del drawers[market]
