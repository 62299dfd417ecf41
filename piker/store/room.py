"""Room on the disk that history leaves alone: the journal of orders may be on the same one."""

import os
from pathlib import Path
from typing import Final

MIB: Final = 1024 * 1024
LEAST_FREE: Final = 512 * MIB
"""With less free on its disk nothing of history is written.

emsd holds 16 MiB of ballast beside its journal (ballast.py) and refuses new orders where it can't.
A write begins while there is still room and may take more than is left above: each provider's datad
may be about a month of seconds, 2.7 million bars of 60 bytes at most, of which the old file and the
new are there at once. So two of them at a time still leave emsd ten times what it holds.
"""


class TooLittle(OSError):
    """The rest of a disk is not for history; the text says so, alike however little it is."""


def check(directory: Path, least_free: int) -> None:
    """See that more is free where a directory is. Raises TooLittle or OSError."""
    found = os.statvfs(directory)
    if found.f_bavail * found.f_frsize < least_free:
        raise TooLittle(
            f"less than {least_free // MIB} MiB are free on the disk of {directory}; "
            "that much is left to the journal of orders"
        )
