"""Attacks what standard input describes; writes an outcome for each attack, as JSON.

Each runs in a process of its own: one that changes its own namespaces, or dies, changes no other.
"""

import os
import select
import signal
import sys
import traceback
from typing import BinaryIO

import msgspec

from .attacks import Attack, Stopped, attacks
from .prey import Outcome, Prey


def main() -> None:
    """Run all, one after the other."""
    prey = msgspec.json.decode(sys.stdin.buffer.read(), type=Prey)
    outcomes = [_apart(name, attack, prey) for name, attack in attacks(prey).items()]
    sys.stdout.buffer.write(msgspec.json.encode(outcomes))


def _apart(name: str, attack: Attack, prey: Prey) -> Outcome:
    """Run one attack in a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with open(writing, "wb") as report:
            report.write(msgspec.json.encode(_outcome(name, attack, prey)))
        os._exit(0)
    os.close(writing)
    try:
        with open(reading, "rb") as report:
            return _heard(name, report, prey.patience_s)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _outcome(name: str, attack: Attack, prey: Prey) -> Outcome:
    try:
        return Outcome(attack=name, got=attack(prey))
    except (OSError, Stopped) as error:
        return Outcome(attack=name, stopped=f"{type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - whatever it is, it is the attack that is wrong
        return Outcome(attack=name, broken=traceback.format_exc())


def _heard(name: str, report: BinaryIO, patience_s: float) -> Outcome:
    if not select.select([report], [], [], patience_s)[0]:
        return Outcome(attack=name, stopped=f"nothing came of it within {patience_s} s")
    said = report.read()
    return msgspec.json.decode(said, type=Outcome) if said else Outcome(attack=name, stopped="died")


if __name__ == "__main__":
    main()
