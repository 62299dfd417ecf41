"""Resume: bring emsd back after a boot or a login, if it has orders to look after.

    python -m piker.resume

emsd's mark says so (piker.store.marks). A connection is what starts it; before that, whoever
manages the units is asked to listen for the daemons of the providers that it needs, since nobody
may have done so since the boot.
"""

import logging
import subprocess
import sys
from collections.abc import Sequence

import trio

from piker import log, paths
from piker.client import open_daemon
from piker.core.units import Name
from piker.errors import Refused, Unreachable
from piker.interfaces.service import SERVICE, Health, HealthReply
from piker.interfaces.supervisor import SUPERVISOR, Done, Start
from piker.store import marks

logger = logging.getLogger(__name__)


def sockets(providers: Sequence[str]) -> list[str]:
    """The socket units of these providers. What names no unit is left out."""
    units = [f"{daemon}@{each}.socket" for each in providers for daemon in paths.OF_A_PROVIDER]
    return [unit for unit in units if Name.of(unit)]


async def listen_for(units: Sequence[str]) -> None:
    """Have the manager listen at these sockets: pikerd, else systemd. Raises Unreachable."""
    if not units:
        return
    try:
        async with open_daemon("pikerd", None, SUPERVISOR) as client:
            for unit in units:
                await client.call(Start(unit=unit), Done)
    except Refused as no:
        raise Unreachable(str(no)) from no
    except Unreachable:
        await _ask_systemd(units)


async def _ask_systemd(units: Sequence[str]) -> None:
    command = ["systemctl", f"--{paths.manager()}", "start", "--", *units]
    try:
        await trio.run_process(command, capture_stderr=True)
    except OSError as error:
        raise Unreachable(f"no pikerd runs, and systemctl can't: {error}") from error
    except subprocess.CalledProcessError as error:
        raise Unreachable(f"systemctl failed: {error.stderr.decode().strip()}") from error


async def run() -> int:
    """Bring emsd back if need be; gives the exit status."""
    mark = marks.busy(paths.state_of("emsd"))
    if mark is None:
        return 0
    try:
        await listen_for(sockets(mark.providers))
    except Unreachable as error:
        logger.warning("emsd has to wait for its providers: %s", error)
    try:
        async with open_daemon("emsd", "view", SERVICE) as client:
            health = await client.call(Health(), HealthReply)
    except (Refused, Unreachable) as error:
        logger.error("emsd is needed, but does not answer: %s: %s", mark.reason, error)
        return 1
    if health.state == "failed":
        logger.error("emsd is needed, but can't work: %s: %s", mark.reason, health.status)
        return 1
    logger.info("emsd looks after its orders again: %s: %s", mark.reason, health.status)
    return 0


def main() -> int:
    """python -m piker.resume."""
    if len(sys.argv) != 1:
        sys.stderr.write("usage: python -m piker.resume\n")
        return 2
    log.set_up("piker-resume", None)
    return trio.run(run)


if __name__ == "__main__":
    sys.exit(main())
