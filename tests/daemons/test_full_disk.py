"""A real datad whose disk fills up: what is live goes on, and what waited is kept in the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.test_room import UNSHARED, can_mount

ROOT = Path(__file__).parents[2]
SMALL = 'mount -t tmpfs -o size=544m,nr_inodes=200 none "$1/state"'
RUN = f'{SMALL} && exec "$0" -m tests.daemons.fulldisk "$1"'


@pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")
def test_a_disk_that_fills_up_stops_nothing_live_damages_nothing_and_holds_the_past_up(
    home: Path,
) -> None:
    command = [*UNSHARED, "sh", "-c", RUN, sys.executable, str(home)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    where = home / "state" / "piker-datad" / "history" / "fake"
    little = f"nothing is kept on disk: less than 512 MiB are free on the disk of {where}; "
    little += "that much is left to the journal of orders; it is tried again"
    full = f"nothing is kept on disk: No space left on device: {where}; it is tried again"
    assert done.stdout.splitlines() == [
        f"too little room: waiting, [] wrong: {[little]}",
        f"  {little}",
        f"no name left: waiting, [] wrong: {[full]}",
        f"  {full}",
        "room: done, [] wrong: []",
        "  ",
        "at the end: [] wrong, True, True, True",
    ], done.stderr
