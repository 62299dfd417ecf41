"""The peer of call and reply: answers Health over pyzmq REP, with a reply of the same size.

python -m tests.bench.answerer ADDRESS
"""

import sys

import msgspec
import zmq

from piker.interfaces.service import Counter, Health, HealthReply

NAMES = ("conversations", "calls", "watchers", "bar_series", "bar_readers", "ticks", "late", "bad")


def main(address: str) -> None:
    """Answer until ended."""
    socket = zmq.Context().socket(zmq.REP)
    socket.bind(address)
    print("listening", flush=True)
    decode = msgspec.json.Decoder(Health).decode
    encode = msgspec.json.Encoder().encode
    while True:
        decode(socket.recv())
        reply = HealthReply(
            state="running",
            since_ns=1_700_000_000_000_000_000,
            status="sim: not connected · no market · 0 watchers",
            counters=tuple(Counter(name=name, value=0) for name in NAMES),
        )
        socket.send(encode(reply))


if __name__ == "__main__":
    main(sys.argv[1])
