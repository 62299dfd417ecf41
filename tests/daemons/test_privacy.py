"""What a process shows of itself to others of its user."""

import subprocess
import sys

PR_GET_DUMPABLE = 3
"""prctl(2)."""


def test_no_other_process_of_the_user_can_read_its_memory() -> None:
    program = (
        "import ctypes; from piker.privacy import keep_to_itself as keep; keep();"
        f"print(ctypes.CDLL(None).prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
