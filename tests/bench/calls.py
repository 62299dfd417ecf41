"""Call and reply on an open connection: Health, encoded and decoded by type on both sides."""

import time
from collections.abc import Iterator
from statistics import median

import msgspec
import trio
import zmq

from piker.interfaces.service import SERVICE, Health, HealthReply
from piker.varlink import open_client
from tests.bench.result import Result, compare
from tests.bench.rig import Rig, rig, said

CALLS = 3_000


def run() -> Iterator[Result]:
    """The median of one client's calls."""
    with rig() as made:
        made.start_daemon("piker.datad", "sim")
        address = f"ipc://{made.directory}/zmq"
        said([made.start("-m", "tests.bench.answerer", address)])
        yield compare(
            "calls",
            "Health, p50",
            "µs",
            lambda: trio.run(_ask_datad, made),
            "pyzmq REQ/REP",
            lambda: _ask_zmq(address),
            more_is_better=False,
        )


async def _ask_datad(made: Rig) -> float:
    times = []
    async with open_client(made.socket("datad", "sim"), SERVICE, "datad@sim") as client:
        for _ in range(CALLS):
            began = time.perf_counter_ns()
            await client.call(Health(), HealthReply)
            times.append(time.perf_counter_ns() - began)
    return median(times) / 1e3


def _ask_zmq(address: str) -> float:
    times = []
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(address)
        encode = msgspec.json.Encoder().encode
        decode = msgspec.json.Decoder(HealthReply).decode
        for _ in range(CALLS):
            began = time.perf_counter_ns()
            socket.send(encode(Health()))
            decode(socket.recv())
            times.append(time.perf_counter_ns() - began)
    return median(times) / 1e3
