"""Frames of the text protocol: a length of four bytes, big endian, and as many bytes."""

import struct

LENGTH = struct.Struct(">I")
MOST = 16 * 1024 * 1024
"""Bytes of one frame from a gateway: a thousand daily bars are a tenth of a megabyte."""


class NoFrame(Exception):
    """What came is no frame; the text says how it begins."""


def frame(payload: bytes) -> bytes:
    """A payload with its length before it."""
    return LENGTH.pack(len(payload)) + payload


class Frames:
    """Cuts what is received into payloads, in whatever pieces it comes."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        """Bytes of one payload; a longer one is taken for something else than a frame."""
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that this completes. Raises NoFrame."""
        self._rest += data
        found, at = [], 0
        while (payload := self._at(at)) is not None:
            found.append(payload)
            at += LENGTH.size + len(payload)
        del self._rest[:at]
        return found

    def _at(self, at: int) -> bytes | None:
        begin = at + LENGTH.size
        if len(self._rest) < begin:
            return None
        (length,) = LENGTH.unpack_from(self._rest, at)
        if length > self.most:
            shown = bytes(self._rest[at : at + 40])
            raise NoFrame(f"expected a frame of at most {self.most} bytes, was {shown!r}")
        end = begin + length
        return bytes(self._rest[begin:end]) if len(self._rest) >= end else None
