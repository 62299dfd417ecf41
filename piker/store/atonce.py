"""The same done with several parts, some at a time: for work that waits, or that leaves Python."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

AT_ONCE: Final = 4
"""Of files that are written, one or two wait for the disk."""

T = TypeVar("T")
R = TypeVar("R")


def at_once(work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """What comes of each, in their order. Raises what the first of them raises that does."""
    if len(parts) <= 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(work, parts))
