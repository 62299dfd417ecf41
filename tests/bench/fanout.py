"""Fan-out: quotes a second that a publisher sustains to so many, all decoded, none lost."""

from collections.abc import Callable, Iterator
from functools import partial

from tests.bench.result import Result, compare
from tests.bench.rig import Rig, rig
from tests.bench.streams import Outcome, Shape, through_datad, through_zmq

SHAPES = {
    "1 watcher": Shape(processes=1, each=1, quotes=100_000),
    "10 watchers": Shape(processes=10, each=1, quotes=50_000),
    "100 watchers, 4 processes": Shape(processes=4, each=25, quotes=8_000),
}


def run() -> Iterator[Result]:
    """One row a number of watchers."""
    with rig() as made:
        for case, shape in SHAPES.items():
            yield compare(
                "fanout",
                case,
                "quotes/s",
                partial(_rate, through_datad, made, shape),
                "pyzmq PUB/SUB",
                partial(_rate, through_zmq, made, shape),
                more_is_better=True,
            )


def _rate(through: Callable[[Rig, Shape], Outcome], made: Rig, shape: Shape) -> float:
    return shape.quotes / through(made, shape).seconds
