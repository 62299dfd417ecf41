"""Where a key stands in a TOML text: what a parser gives has no lines any more."""

import re
import tomllib
from collections.abc import Iterator

_PART = r"""(?:"[^"\n]*"|'[^'\n]*'|[\w-]+)"""
_KEY = rf"{_PART}(?:\s*\.\s*{_PART})*"
_LINE = re.compile(rf"\s*(?:\[\[?\s*(?P<table>{_KEY})\s*\]\]?|(?P<key>{_KEY})\s*=)")
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


def line_of(text: str, key: str) -> int:
    """The last line, from 1, that sets a dotted key, or else what it is in; 0 if none does.

    Keys in a table that is written within a line are found where that begins.
    """
    wanted = _parts(key)
    best = (0, 0)
    for number, parts in _keys(text):
        if parts == wanted[: len(parts)] and len(parts) >= best[0]:
            best = (len(parts), number)
    return best[1]


def line_in(problem: str) -> int:
    """The line that the text of a tomllib.TOMLDecodeError names; 0 if none."""
    named = _AT_LINE.search(problem)
    return int(named[1]) if named else 0


def _keys(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The lines that begin a table or set a key, and the whole key."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.match(line)
        if match and match["table"]:
            table = _parts(match["table"])
            yield number, table
        elif match:
            yield number, (*table, *_parts(match["key"]))


def _parts(key: str) -> tuple[str, ...]:
    """A dotted key in its parts, which may be quoted; none of what is no key."""
    try:
        table = tomllib.loads(f"[{key}]")
    except tomllib.TOMLDecodeError:
        return ()
    parts = []
    while table:
        ((part, table),) = table.items()
        parts.append(part)
    return tuple(parts)
