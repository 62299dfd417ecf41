"""A client that says exactly what a test says: it knows frames, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import trio

from tests.fakes.gateway.orderlayout import CONTRACT as CONTRACT_NAMES
from tests.fakes.gateway.orderlayout import PLACE, write_order
from tests.fakes.gateway.server import Served
from tests.fakes.gateway.wire import GREETING, HEAD, Message, frame, text

PATIENCE_S = 45
"""No message is waited for longer."""
CONTRACT = (0, "AAPL", "STK", "", "", "", "", "SMART", "", "USD", "", "")


def contract(symbol: str, sec_type: str = "STK", exchange: str = "SMART") -> tuple[object, ...]:
    """The twelve fields of a description."""
    return (0, symbol, sec_type, "", "", "", "", exchange, "", "", "", "")


class Client:
    """One connection."""

    def __init__(self, stream: trio.abc.Stream, version: int) -> None:
        self.stream = stream
        self.version = version
        self._pending = b""

    async def send(self, *fields: object) -> None:
        """Ask something."""
        await self.stream.send_all(frame(*fields))

    async def read(self) -> Message:
        """The next message; () once the gateway hung up."""
        with trio.fail_after(PATIENCE_S):
            length = int.from_bytes(await self._exactly(HEAD), "big")
            payload = await self._exactly(length)
        return tuple(payload.decode().removesuffix("\0").split("\0")) if length else ()

    async def until(self, *codes: int | str) -> list[Message]:
        """All messages up to one with one of these numbers; an error's is said as "error 326"."""
        wanted, read = {str(code) for code in codes}, [await self.read()]
        while not wanted & _names(read[-1]):
            assert read[-1], f"expected {codes}, was hung up on after {read}"
            read.append(await self.read())
        return read

    async def log_in(self, client_id: int = 1) -> list[Message]:
        """Say who this is; gives everything up to the last notice about farms."""
        await self.send(71, 2, client_id, "")
        return await self.until("error 2158")

    async def place(self, order_id: int, **values: object) -> None:
        """Place an order: a limit order for 10 AAPL, but for what is said, by the API's names."""
        usual = dict(zip(CONTRACT_NAMES.split(), CONTRACT, strict=True)) | USUAL
        await self.send(3, order_id, *write_order(PLACE, usual | values, self.version))

    async def _exactly(self, count: int) -> bytes:
        while len(self._pending) < count:
            chunk = await self.stream.receive_some()
            if not chunk:
                return b""
            self._pending += chunk
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken


USUAL: dict[str, object] = {
    "action": "BUY",
    "totalQuantity": Decimal(10),
    "orderType": "LMT",
    "lmtPrice": Decimal(100),
    "tif": "DAY",
    "orderRef": "mine",
    "transmit": True,
}


def _names(message: Message) -> set[str]:
    """By what a message may be waited for."""
    if message[:1] == ("4",):
        return {"4", f"error {message[3]}"}
    return set(message[:1])


async def greet(gateway: Served, *, highest: int = 176) -> tuple[trio.abc.Stream, int]:
    """Connect and offer versions; gives the stream before anything is read from it."""
    stream: trio.SocketStream
    if gateway.path:
        stream = await trio.open_unix_socket(gateway.path)
    else:
        stream = await trio.open_tcp_stream("127.0.0.1", gateway.port)
    offer = f"v100..{highest}".encode()
    await stream.send_all(GREETING + len(offer).to_bytes(HEAD, "big") + offer)
    return stream, min(highest, gateway.settings.version)


@asynccontextmanager
async def a_client(
    gateway: Served, client_id: int | None = 1, *, highest: int = 176
) -> AsyncIterator[Client]:
    """A client that is logged in; one that only shook hands, if it has no id."""
    stream, version = await greet(gateway, highest=highest)
    async with stream:
        client = Client(stream, version)
        version_said, _ = await client.read()
        assert version_said == text(version)
        if client_id is not None:
            await client.log_in(client_id)
        yield client
