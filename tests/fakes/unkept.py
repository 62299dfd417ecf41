"""An archive of which nothing is kept, for tests of what has nothing to do with it."""

from pathlib import Path

from piker.archive import Archive


def unkept() -> Archive:
    """One that neither reads nor writes, and has nothing to say of that."""
    archive = Archive(Path("/nowhere"), "fake")
    archive.unreadable = "nothing is kept in this test"
    archive.problem = ""
    return archive
