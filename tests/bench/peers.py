"""The peer of fan-out and latency: the same generator, encoder and typed decode over pyzmq PUB/SUB.

python -m tests.bench.peers publish ADDRESS SUBSCRIBERS QUOTES RATE_HZ
python -m tests.bench.peers subscribe ADDRESS SUBSCRIBERS QUOTES
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import msgspec
import zmq

from piker.brokers.sim.wire import Walk
from piker.clock import boot_ns
from piker.quotes import Quote
from tests.bench.burst import BATCH, FQME, batch


def publish(address: str, subscribers: int, quotes: int, rate_hz: float) -> None:
    """Wait for all subscribers and a line on stdin, then send."""
    socket = zmq.Context().socket(zmq.XPUB)
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.bind(address)
    print("listening", flush=True)
    for _ in range(subscribers):
        socket.recv()
    print("ready", flush=True)
    sys.stdin.readline()
    encode = msgspec.json.Encoder().encode
    walk = Walk(FQME, 1, 0)
    start = time.monotonic()
    for count in range(0, quotes, 1 if rate_hz else BATCH):
        if rate_hz:
            time.sleep(max(0.0, start + count / rate_hz - time.monotonic()))
        for quote in batch(walk, min(quotes - count, 1 if rate_hz else BATCH)):
            socket.send(encode(quote))
    sys.stdin.readline()


def subscribe(address: str, subscribers: int, quotes: int) -> None:
    """Decode everything on all sockets; print the end and the median age, as the watchers do."""
    context = zmq.Context()
    poller = zmq.Poller()
    left: dict[zmq.Socket[bytes], int] = {}
    for _ in range(subscribers):
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.connect(address)
        socket.subscribe(b"")
        poller.register(socket, zmq.POLLIN)
        left[socket] = quotes
    decode = msgspec.json.Decoder(Quote).decode
    ages: list[int] = []
    while left:
        for socket, _ in poller.poll():
            _drain(socket, left, decode, ages)
            if not left[socket]:
                poller.unregister(socket)
                del left[socket]
    print(boot_ns(), median(ages), flush=True)


def _drain(
    socket: "zmq.Socket[bytes]",
    left: "dict[zmq.Socket[bytes], int]",
    decode: Callable[[bytes], Quote],
    ages: list[int],
) -> None:
    """Take what there is of one socket."""
    while left[socket]:
        try:
            data = socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return
        quote = decode(data)
        ages.append(boot_ns() - quote.ticks[0].seen_ns)
        left[socket] -= 1


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        publish(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    else:
        subscribe(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
