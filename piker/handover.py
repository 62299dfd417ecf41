"""piker-handover@P: lays out, for the manager, those credentials of a provider that it can load.

    python -m piker.handover PROVIDER

A manager that can't read or decrypt a credential fails the unit at every start, and its daemon
never gets to say so; for one that isn't there it takes the unit's default. So brokerd's unit loads
what lies here: a link to each file that can be loaded, and of the others why not. It holds no
secret, and is made anew before each start of brokerd@P, by whoever its manager is.
"""

import os
import re
import stat
import sys
from pathlib import Path

from piker import paths
from piker.store import credentials
from piker.store.credentials import ALL, PROBLEMS
from piker.store.sealed import why_not_loadable

_PROVIDER = re.compile(r"[a-z0-9_][a-z0-9_-]*")
"""A name that is no way to somewhere else: under the system manager root is who looks."""
MOST_BYTES = 1024 * 1024
"""The manager refuses a longer one: systemd.exec(5), LoadCredential=."""


def lay_out(provider: str) -> dict[str, str]:
    """Have the links be there, and no others; gives why a credential can't be loaded, by name.

    Raises OSError if nothing can be laid out.
    """
    place = credentials.handed_over(provider)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in place.iterdir():
        if left.is_symlink() or not left.is_dir():
            left.unlink()
    source = credentials.directory(provider)
    try:
        names = {each for each in os.listdir(source) if not each.startswith(".")} - {PROBLEMS}
    except FileNotFoundError:
        return {}
    except OSError as error:
        problems = {ALL: f"{error.strerror}: {source}"}
    else:
        problems = {name: problem for name in names if (problem := why_not(source / name))}
        for name in names - problems.keys():
            (place / name).symlink_to(source / name)
    _tell(place / PROBLEMS, problems)
    return problems


def _tell(path: Path, problems: dict[str, str]) -> None:
    """A line each, for brokerd, which is given them as it is given credentials."""
    if problems:
        path.write_text("".join(f"{name}: {problem}\n" for name, problem in problems.items()))


def why_not(path: Path) -> str:
    """Why the manager can't load this file, or nothing."""
    try:
        problem = _unlike_a_file(path)
    except OSError as error:
        problem = error.strerror or str(error)
    if not problem and paths.manager() == "system":
        problem = why_not_loadable(path)
    return f"{problem}: {path}" if problem else ""


def _unlike_a_file(path: Path) -> str:
    """Opened as the manager will, but never waiting for who would write into it."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(found.st_mode):
        return f"expected a file, was {stat.filemode(found.st_mode)}"
    if found.st_size > MOST_BYTES:
        return f"expected at most {MOST_BYTES} bytes, was {found.st_size}"
    return ""


def main() -> int:
    """python -m piker.handover PROVIDER."""
    if len(sys.argv) != 2 or not _PROVIDER.fullmatch(sys.argv[1]):
        print("usage: python -m piker.handover PROVIDER", file=sys.stderr)  # noqa: T201
        return 2
    for name, problem in lay_out(sys.argv[1]).items():
        print(f"{sys.argv[1]}: can't hand over {name}: {problem}", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
