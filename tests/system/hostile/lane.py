"""What a datad tries that has a lane to a gateway: an order, by each way that it could go.

    python -m hostile.lane RUNTIME_DIRECTORY PORT GREETING LOGIN ORDER LOGIN ORDER LOGIN ORDER

What is to be said comes in hex: a login of its own for each way, since a gateway hears later, by a
proxy, that a client has gone. Writes the outcomes to standard output, as JSON in one line; in a
unit it says then that it is ready, and stays.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from . import sockets
from .prey import Outcome
from .reasons import Stopped

PATIENCE_S = 30
LET_IN = b"9"
"""What a gateway says last before it takes orders: the next valid id."""
TAKEN = b"5"
"""openOrder: an order is there."""
DOORS = ("brokerd/ib", "emsd/trade", "emsd/view", "paperboi/ib")

Dial = Callable[[], socket.socket]


class Talk:
    """A conversation with a gateway: frames, each with its length before it."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rwb")

    def say(self, text: str) -> None:
        """Send bytes, given in hex."""
        self._lines.write(bytes.fromhex(text))
        self._lines.flush()

    def until(self, number: bytes) -> None:
        """Hear until a message with this number. Raises Stopped at the end."""
        while self._heard() != number:
            pass

    def hear(self) -> bytes:
        """A frame. Raises Stopped at the end."""
        length = int.from_bytes(self._lines.read(4))
        if not length:
            raise Stopped("hung up")
        return self._lines.read(length)

    def _heard(self) -> bytes:
        return self.hear().partition(b"\0")[0]


def main() -> None:
    """Try all."""
    runtime, port, *words = sys.argv[1:]
    outcomes = [_outcome(*each) for each in attempts(runtime, int(port), words).items()]
    sys.stdout.buffer.write(msgspec.json.encode(outcomes) + b"\n")
    sys.stdout.flush()
    if "NOTIFY_SOCKET" in os.environ:
        _say_ready()
        signal.pause()


def attempts(runtime: str, port: int, words: Sequence[str]) -> Mapping[str, Callable[[], str]]:
    """Each way, by name."""
    ways: dict[str, Dial] = {
        "lane": partial(sockets.connected, f"{runtime}/piker/iblane/live.sock"),
        "ibgw": partial(sockets.connected, f"{runtime}/piker/ibgw/live.sock"),
        "tcp": partial(socket.create_connection, ("127.0.0.1", port), PATIENCE_S),
    }
    doors = {name: f"{runtime}/piker/{name}.sock" for name in DOORS}
    greeting, *others = words
    said = zip(ways.items(), others[::2], others[1::2], strict=True)
    orders = {
        f"order-by-{name}": partial(order, dial, (greeting, login, ticket))
        for (name, dial), login, ticket in said
    }
    return orders | {f"reach-{name}": partial(sockets.connect, doors[name]) for name in doors}


def order(dial: Dial, words: Sequence[str]) -> str:
    """An order, after a handshake and a login as they should be."""
    greeting, login, ticket = words
    with dial() as connection:
        connection.settimeout(PATIENCE_S)
        talk = Talk(connection)
        talk.say(greeting)
        talk.hear()
        talk.say(login)
        talk.until(LET_IN)
        talk.say(ticket)
        try:
            talk.until(TAKEN)
        except Stopped:
            raise Stopped("let in, and hung up on at the order") from None
    return "placed"


def _outcome(name: str, attempt: Callable[[], str]) -> Outcome:
    try:
        return Outcome(attack=name, got=attempt())
    except (OSError, Stopped) as error:
        return Outcome(attack=name, stopped=f"{type(error).__name__}: {error}")


def _say_ready() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
        sock.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])


if __name__ == "__main__":
    main()
