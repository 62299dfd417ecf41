"""Room that is held beside the journal, to be let go of when there is no other."""

import os
from pathlib import Path

SIZE = 16 * 1024 * 1024
BLOCK = 512
"""The unit of st_blocks (stat(3type))."""


class Ballast:
    """A file that does nothing but take up room."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def held(self) -> bool:
        """Whether all of it is there and really allocated."""
        try:
            return self._path.stat().st_blocks * BLOCK >= SIZE
        except OSError:
            return False

    def hold(self) -> bool:
        """Take up the room; whether there was enough of it. What is there already stays."""
        if self.held:
            return True
        try:
            _allocate(self._path)
        except OSError:
            self.let_go()
            return False
        return True

    def let_go(self) -> bool:
        """Free the room; whether there was anything to free."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def free_bytes(directory: Path) -> int:
    """How much room a file system has for us; 0 if it can't be asked."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _allocate(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, SIZE)
    finally:
        os.close(fd)
