"""Whether what runs here ends when its user logs out: a user manager does, unless they linger."""

from collections.abc import Mapping

from piker.paths import of_the_machine


def dies_at_logout(environment: Mapping[str, str]) -> bool:
    """Whether a user manager runs this, for a user who doesn't linger.

    MANAGERPID is set by user managers alone: systemd.exec(5).
    """
    name = environment.get("USER", "")
    return "MANAGERPID" in environment and bool(name) and not lingers(name)


def lingers(user: str) -> bool:
    """Whether what runs for a user outlives the logout: loginctl(1), enable-linger."""
    return (of_the_machine("var/lib/systemd/linger") / user).exists()
