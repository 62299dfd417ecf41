"""UUIDv7: ids that sort by the time at which they were made. Source: RFC 9562, section 5.7."""

import uuid

RANDOM_BYTES = 10
_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62


def uuid7(time_ms: int, random: bytes) -> str:
    """The id of an instant, UTC ms, and ten random bytes."""
    if not 0 <= time_ms < 2**48:
        raise ValueError(f"expected a time of 0 up to 2**48 ms, was {time_ms}")
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"expected {RANDOM_BYTES} random bytes, was {len(random)}")
    bits = int.from_bytes(random)
    first, last = bits >> 62 & 0xFFF, bits & (2**62 - 1)
    return str(uuid.UUID(int=time_ms << 80 | _VERSION | first << 64 | _VARIANT | last))
