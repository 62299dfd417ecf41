"""Where credentials lie until a manager hands them to a brokerd: a file each, below
`%E/piker-credentials`, as units/brokerd@.service says. Nothing here reads one.

A user's are plain; the system's are root's, and encrypted with a key of the machine's own. (User
managers can't load encrypted ones: not before systemd 258, and there it wasn't tried.)
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from piker import paths
from piker.store import durable, sealed

PRIVATE = 0o700
PROBLEMS = "piker-problems"
"""The credential by which brokerd is told why it wasn't given one, a line "NAME: REASON" each."""
ALL = "*"
"""What holds for each of them."""
OTHERS = 0o077
"""Mode bits by which somebody else gets in, or at it."""


class NotKept(Exception):
    """Credentials can't lie there; the text names the directory and says why."""


class Kept(NamedTuple):
    """Something that lies where credentials do, and who gets at it."""

    name: str
    since_ns: int
    mode: int
    odd: str
    """Why it is no file of this user's, or nothing."""
    open: tuple[Path, ...]
    """It and its directories, as far as their modes let somebody else in."""


def directory(provider: str = "") -> Path:
    """Of a provider's credentials, or of all."""
    return paths.config_directory() / "piker-credentials" / provider


def path_of(provider: str, name: str) -> Path:
    """The file that brokerd@PROVIDER's unit loads as NAME."""
    return directory(provider) / name


def handed_over(provider: str) -> Path:
    """Where units/brokerd@.service loads them from: what piker.handover lays out."""
    return paths.runtime_directory() / "piker-credentials" / provider


def prepare(provider: str) -> tuple[str, ...]:
    """Have a provider's directory be there for this user alone; gives what was mended, in words.

    Raises NotKept or OSError.
    """
    paths.config_directory().mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    mended = [_made_private(each) for each in (directory(), directory(provider))]
    return tuple(filter(None, mended))


def encrypted() -> bool:
    """Whether they are, where they lie."""
    return paths.manager() == "system"


def content(name: str, secret: str) -> bytes:
    """What a file is to hold for a secret. Raises NotSealed."""
    return sealed.seal(name, secret) if encrypted() else secret.encode()


def keep(provider: str, name: str, content: bytes) -> str:
    """Have a file of mode 0600 hold this, whole or not at all; gives what was done, in words.

    Its directory is as `prepare` leaves it. Raises OSError.
    """
    path = path_of(provider, name)
    before = _mode(path)
    durable.replace(path, content)
    if before is None:
        return f"set: {path}"
    was_open = f"; the one before was open to others (mode {before:04o})"
    return f"replaced: {path}{was_open if before & OTHERS else ''}"


def kept(provider: str) -> dict[str, Kept]:
    """What lies there for a provider, by name; for "", for all. Raises NotKept or OSError."""
    place = directory(provider)
    try:
        ways = {each: _expect_ours(each).st_mode for each in (directory(), place)}
    except FileNotFoundError:
        return {}
    ways_in = tuple(each for each, mode in ways.items() if mode & OTHERS)
    return {each.name: each for each in _kept(sorted(place.iterdir()), ways_in)}


def _kept(files: list[Path], ways_in: tuple[Path, ...]) -> Iterator[Kept]:
    for path in files:
        with suppress(FileNotFoundError):  # replaced a moment ago
            found = path.lstat()
            odd = _odd(found, stat.S_IFREG)
            yield Kept(
                name=path.name,
                since_ns=found.st_mtime_ns,
                mode=stat.S_IMODE(found.st_mode),
                odd=odd,
                open=(*ways_in, *([path] if found.st_mode & OTHERS and not odd else [])),
            )


def _made_private(place: Path) -> str:
    """Make a directory, or mend its mode, and say so."""
    try:
        place.mkdir(mode=PRIVATE)
    except FileExistsError:
        mode = stat.S_IMODE(_expect_ours(place).st_mode)
        if mode & OTHERS:
            place.chmod(PRIVATE)
            return f"{place} was open to others (mode {mode:04o}), now it is not"
    return ""


def _expect_ours(place: Path) -> os.stat_result:
    """A link would lead to where daemons see it; what is another user's, that user reads."""
    found = place.lstat()
    odd = _odd(found, stat.S_IFDIR)
    if odd:
        raise NotKept(f"{place}: {odd}")
    return found


def _odd(found: os.stat_result, kind: int) -> str:
    """Why it isn't of this kind, or not of this user, or nothing."""
    if stat.S_IFMT(found.st_mode) != kind:
        expected = "a directory" if kind == stat.S_IFDIR else "a file"
        return f"expected {expected}, was {stat.filemode(found.st_mode)}"
    if found.st_uid != os.geteuid():
        return f"expected one of user {os.geteuid()}, was of user {found.st_uid}"
    return ""


def _mode(path: Path) -> int | None:
    """Of what is there, if anything is."""
    with suppress(FileNotFoundError):
        return stat.S_IMODE(path.lstat().st_mode)
    return None
