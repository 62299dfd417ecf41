"""What tests ask of a machine and of its units."""

from machine import USER, Machine

SOCKETS = "/run/user/1000/piker"


def configure(machine: Machine, text: str) -> None:
    """Write the user's piker.toml."""
    machine.push(f"/home/{USER}/.config/piker/piker.toml", text)


def is_active(machine: Machine, unit: str) -> bool:
    """Whether a unit is up."""
    return machine.show(unit, "ActiveState") == "active"


def start_and_enter(machine: Machine, unit: str) -> list[str]:
    """Start a service; gives what runs a command among the files that it sees."""
    machine.systemctl_user("start", unit)
    return ["nsenter", "--mount", f"--target={machine.show(unit, 'MainPID')}"]


def files(machine: Machine, inside: list[str], directory: str) -> list[str]:
    """What a process sees in a directory."""
    return machine.run([*inside, "ls", "-A", directory]).stdout.split()
