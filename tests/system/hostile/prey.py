"""What the attacker is told, which is more than it would know, and what it reports."""

from msgspec import Struct


class Victim(Struct, frozen=True, kw_only=True):
    """A process, and where a secret lies in its memory, and how long that is, in bytes."""

    pid: int
    address: int
    length: int


class Prey(Struct, frozen=True, kw_only=True):
    """All that is attacked. Paths are as a process outside sees them."""

    emsd: Victim
    brokerd: Victim
    paperboi: Victim
    datad: Victim
    """Of another provider; somebody reads its bars."""
    manager: Victim
    person: int
    """A process of the person's that is none of piker's."""
    victims: tuple[str, ...]
    """Whose memory is to be read."""
    manager_option: str
    """By which systemctl asks that manager."""
    home: str
    token: str
    credential: str
    configuration: str
    """Where piker/ is, and what belongs to all of that manager's units."""
    units: str
    """Where units can be written that the manager takes."""
    runtime: str
    """Where piker/ and the manager's sockets are."""
    session: str
    """Where a person's programs have theirs."""
    emsd_state: str
    paperboi_state: str
    history: str
    """What the datad of another provider has kept on disk."""
    oid: str
    """An order that is open."""
    order: str
    """One to place: the parameters of piker.Orders.Submit, JSON."""
    port: int
    """Of 127.0.0.1, where something listens, by TCP and by UDP."""
    patience_s: float
    """More than any attack takes that gets anywhere."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of an attack: what it got, or why not. `broken`: it was not tried as it should."""

    attack: str
    got: str | None = None
    stopped: str = ""
    broken: str = ""
