"""Varlink's framing: bytes to messages, each ended by a NUL byte."""

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message; a longer one, or one that never ends, ends the conversation."""


class Splitter:
    """Cuts what is received into messages, in whatever pieces it comes."""

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._rest = bytearray()
        self.overlong = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The messages that `chunk` completes, without their NUL.

        Sets `overlong` when what comes after them, or one of them, exceeds the limit: it is not
        given, and nothing after it is.
        """
        if self.overlong:
            return []
        *whole, rest = chunk.split(b"\0")
        if whole and self._rest:
            whole[0] = bytes(self._rest) + whole[0]
            self._rest.clear()
        self._rest += rest
        return self._within(whole)

    @property
    def unfinished(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._rest)

    def _within(self, messages: list[bytes]) -> list[bytes]:
        fitting = [message for message in messages if len(message) <= self._limit]
        self.overlong = len(fitting) < len(messages) or len(self._rest) > self._limit
        if self.overlong:
            self._rest.clear()
            first_bad = next(
                (i for i, message in enumerate(messages) if len(message) > self._limit),
                len(messages),
            )
            return messages[:first_bad]
        return messages
