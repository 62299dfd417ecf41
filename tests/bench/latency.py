"""One-way latency: from a quote's making to its being decoded, 2,000 a second to 10 watchers."""

from collections.abc import Iterator

from tests.bench.result import Result, compare
from tests.bench.rig import rig
from tests.bench.streams import Shape, through_datad, through_zmq

SHAPE = Shape(processes=10, each=1, quotes=8_000, rate_hz=2_000)


def run() -> Iterator[Result]:
    """The median of the processes' medians."""
    with rig() as made:
        yield compare(
            "latency",
            "2,000 quotes/s to 10, p50",
            "µs",
            lambda: through_datad(made, SHAPE).age_us,
            "pyzmq PUB/SUB",
            lambda: through_zmq(made, SHAPE).age_us,
            more_is_better=False,
        )
