"""What a process shows of itself to others of its user: nothing of its memory."""

import ctypes
import os

PR_SET_DUMPABLE = 4
"""prctl(2)."""


def keep_to_itself() -> None:
    """Let no other process of this user read this one's memory, and no crash write it to disk.

    Instances of one daemon have one user under the system manager, too: this is what keeps them
    apart there. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_DUMPABLE, 0): {os.strerror(number)}")
