"""The process that reads somebody else's file: what `historyread` starts.

    python -P -m piker.cli.historyreader DESCRIPTOR CAPACITY FILE ASKED NOW_NS

prints `Found`, a line; then, for each number of a piece that it reads, puts its rows into the
memory of that descriptor and prints an empty line. It imports no more than that takes: a person
waits.
"""

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from piker.barmemory import columns_in
from piker.core.bars import NS
from piker.core.spans import Pair
from piker.store import foreign
from piker.store.foreign import Foreign
from piker.store.foreignwords import Asked, Bad, BadFile, Found, Piece

MAX_TEXT: Final = 1000
"""Characters of one text for people."""


def main() -> None:
    """Read the file that the arguments tell of."""
    fd, capacity, path, words, now_ns = sys.argv[1:]
    asked = Asked.decoded(words)
    try:
        read = foreign.read(Path(path), asked, int(now_ns))
    except (BadFile, OSError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        _say(msgspec.json.encode(Found(problem=_plain(problem))))
        return
    places = list(_places(read.rows.times_ns, int(capacity)))
    _say(msgspec.json.encode(_found(read, places, asked.period_s * NS)))
    memory = columns_in(int(fd), int(capacity))
    for line in sys.stdin.buffer:
        begin, end = places[int(line)]
        read.rows.part(slice(begin, end)).put(memory.part(slice(end - begin)))
        _say(b"")


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _found(read: Foreign, places: list[Pair], period_ns: int) -> Found:
    times_ns = read.rows.times_ns
    begins = [int(times_ns[begin]) for begin, _ in places]
    ends = [*begins[1:], *(int(times_ns[end - 1]) + period_ns for _, end in places[-1:])]
    return Found(
        pieces=tuple(
            Piece(end - begin, from_ns, to_ns)
            for (begin, end), from_ns, to_ns in zip(places, begins, ends, strict=True)
        ),
        read=read.read,
        bad=tuple(Bad(each.where, _plain(each.why)) for each in read.bad),
        counts=read.counts,
        guessed=tuple(map(_plain, read.guessed)),
    )


def _plain(text: str) -> str:
    """What a file has in it is in it, too: short, and nothing that a terminal goes by."""
    some = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:MAX_TEXT])
    return some if len(text) <= MAX_TEXT else f"{some}…"


def _places(times_ns: np.ndarray, capacity: int) -> Iterator[Pair]:
    """From one row to another, `capacity` at most, a file of a month in as few as can be."""
    if not len(times_ns):
        return
    first, last = times_ns[[0, -1]].astype("datetime64[ns]").astype("datetime64[M]")
    begins = np.arange(first + 1, last + 1).astype("datetime64[ns]").astype(np.int64)
    cuts = [0, *np.searchsorted(times_ns, begins).tolist(), len(times_ns)]
    begin = 0
    for month, end in pairwise(cuts):
        if end - begin > capacity and month > begin:
            yield begin, month
            begin = month
        while end - begin > capacity:
            yield begin, begin + capacity
            begin += capacity
    if begin < len(times_ns):
        yield begin, len(times_ns)


if __name__ == "__main__":
    main()
