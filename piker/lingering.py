"""Whether what runs here ends when its user logs out: a user manager does, unless they linger."""

from collections.abc import Mapping
from pathlib import Path

LINGER = Path("/var/lib/systemd/linger")
"""A file a user who lingers: loginctl(1), enable-linger."""


def dies_at_logout(environment: Mapping[str, str], linger: Path = LINGER) -> bool:
    """Whether a user manager runs this, for a user who doesn't linger.

    MANAGERPID is set by user managers alone: systemd.exec(5).
    """
    name = environment.get("USER", "")
    return "MANAGERPID" in environment and bool(name) and not (linger / name).exists()
