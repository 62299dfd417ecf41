"""One run of a burst from a publisher to many, ours or the peer's."""

from dataclasses import dataclass

from piker.clock import boot_ns
from tests.bench.rig import Rig, said


@dataclass(frozen=True)
class Shape:
    """How many processes of how many watchers each, and what they are sent."""

    processes: int
    each: int
    quotes: int
    rate_hz: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What came of it: seconds from the gate to the last quote, and the median age in µs."""

    seconds: float
    age_us: float


def through_datad(rig: Rig, shape: Shape) -> Outcome:
    """datad with sim's generator; all watchers want every tick."""
    rig.configure(
        f"[providers.burst]\nquotes = {shape.quotes}\nrate_hz = {shape.rate_hz}\n"
        f'gate = "{rig.gate}"\n'
    )
    datad = rig.start_daemon("piker.datad", "burst")
    path = rig.socket("datad", "burst")
    numbers = (path, str(shape.each), str(shape.quotes))
    watchers = [rig.start("-m", "tests.bench.watchers", *numbers) for _ in range(shape.processes)]
    said(watchers)
    began = boot_ns()
    rig.open_gate()
    outcome = _outcome(began, said(watchers))
    for process in (*watchers, datad):
        rig.end(process)
    return outcome


def through_zmq(rig: Rig, shape: Shape) -> Outcome:
    """The same generator, encoder and typed decode with pyzmq."""
    address = f"ipc://{rig.directory}/zmq"
    everybody = str(shape.processes * shape.each)
    command = ("-m", "tests.bench.peers")
    publisher = rig.start(
        *command, "publish", address, everybody, str(shape.quotes), str(shape.rate_hz)
    )
    said([publisher])
    numbers = (address, str(shape.each), str(shape.quotes))
    subscribers = [rig.start(*command, "subscribe", *numbers) for _ in range(shape.processes)]
    said([publisher])
    assert publisher.stdin is not None
    began = boot_ns()
    publisher.stdin.write("go\n")
    publisher.stdin.flush()
    outcome = _outcome(began, said(subscribers))
    for process in (*subscribers, publisher):
        rig.end(process)
    return outcome


def _outcome(began_ns: int, lines: list[str]) -> Outcome:
    ends, ages = zip(*(line.split() for line in lines), strict=True)
    return Outcome(
        (max(map(int, ends)) - began_ns) / 1e9, sorted(map(float, ages))[len(ages) // 2] / 1e3
    )
