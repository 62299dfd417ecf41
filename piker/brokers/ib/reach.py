"""Whether the gateways that are set can be reached, for `piker doctor`.

It starts nothing: to the sockets of units it doesn't connect, and it greets the gateway itself, at
the address that ibgw is given. It asks for nothing there, and hangs up.
"""

import errno
import re
import socket
from ipaddress import ip_address
from pathlib import Path

import trio

from piker import config, paths
from piker.brokers.ib import Settings
from piker.brokers.ib.gateway import is_address
from piker.brokers.ib.messages import Notice, Said
from piker.brokers.ib.session import IN_USE, SETTINGS_OF, GatewayLost, open_session
from piker.core.diagnosis import Finding, Level

Told = tuple[Level, str, str]
"""What a finding says, and what mends it."""

CHECK = "gateways"
CLIENT = 99
"""A client id that no daemon may have, see wire.DATA_CLIENTS and trade.CLIENTS."""
TO_START = "start IB Gateway or TWS, log in, and see that its API has this port: man piker-ib"
TO_LOG_IN = "log in there"

_LINE = re.compile(r"\s*GATEWAY\s*=\s*(['\"]?)(.*?)\1\s*")


async def examine(settings: Settings) -> list[Finding]:
    """What there is to say of each gateway that is set. Bounded in time, as open_session is."""
    ways: dict[str, tuple[str, ...]] = {settings.data: ("iblane", "ibgw")}
    if settings.accounts:
        ways.setdefault(settings.orders, ("ibgw",))
    found: dict[str, list[Finding]] = {configured: [] for configured in ways}
    async with trio.open_nursery() as nursery:
        for configured, units in ways.items():
            nursery.start_soon(_examine, configured, units, found[configured])
    return [finding for each in found.values() for finding in each]


async def _examine(configured: str, units: tuple[str, ...], found: list[Finding]) -> None:
    try:
        told = await _told(configured, units)
    except OSError as error:
        told = [("warning", f"can't be looked at: {error}", "")]
    found += [_finding(configured, *each) for each in told]


async def _told(configured: str, units: tuple[str, ...]) -> list[Told]:
    if not is_address(configured):
        expected = "expected NAME, tcp:HOST:PORT or unix:/PATH"
        return [("problem", expected, "mend piker.toml, then: piker config check")]
    way = Path(configured.removeprefix("unix:"))
    if way.is_relative_to(paths.runtime_directory()):  # a unit's: to connect might start that
        if _is_bound(way):
            return [("ok", "somebody listens there", "")]
        return [("problem", "nobody listens there", TO_START)]
    if configured.startswith(("tcp:", "unix:")):
        return [await _greeted(configured)]
    silent = [each for each in units if not _is_bound(paths.socket_path(each, configured))]
    told = [_silent(configured, silent)] if silent else []
    file = config.directories()[-1] / "ibgw" / f"{configured}.env"
    address = _set_in(file)
    if not _is_complete(address):
        return [*told, _no_address(configured, file, address)]
    return [*told, await _greeted(f"{'unix' if address.startswith('/') else 'tcp'}:{address}")]


def _silent(name: str, units: list[str]) -> Told:
    sockets = [f"{each}@{name}.socket" for each in units]
    under_pikerd = f'under pikerd, {SETTINGS_OF[units[0]]} = "tcp:HOST:PORT"'
    mend = f"{paths.systemctl()} enable --now {' '.join(sockets)}, or, {under_pikerd}"
    return "problem", f"nobody listens for {' and '.join(sockets)}", mend


def _is_bound(path: Path) -> bool:
    """Whether somebody has the socket, or that isn't ours to see. It is not connected to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other_kind:
        # A listening socket is of another type: it doesn't hear of it (unix(7), EPROTOTYPE).
        problem = other_kind.connect_ex(str(path))
    return problem not in (errno.ENOENT, errno.ECONNREFUSED)


async def _greeted(address: str) -> Told:
    """What comes of being a client of a gateway for a moment."""
    heard: list[Said] = []
    try:
        async with open_session(address, CLIENT, heard.append):
            return "ok", f"it answers at {address}", ""
    except GatewayLost as problem:
        if any(isinstance(said, Notice) and said.code == IN_USE for said in heard):
            return "ok", f"it answers at {address}", ""
        at = "" if address in str(problem) else f"{address}: "
        return "problem", f"{at}{problem}", TO_LOG_IN if problem.waits else TO_START


def _set_in(file: Path) -> str:
    """The address that ibgw is given by a file, as systemd.exec(5) reads it; nothing: none."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    found = [match[2] for each in lines if (match := _LINE.fullmatch(each))]
    return found[-1] if found else ""


def _is_complete(address: str) -> bool:
    """Whether ibgw, which has no resolver, gets anywhere by it."""
    host, _, port = address.rpartition(":")
    try:
        return address.startswith("/") or bool(ip_address(host) and 0 < int(port) < 2**16)
    except ValueError:
        return False


def _no_address(name: str, file: Path, was: str) -> Told:
    line = "GATEWAY=127.0.0.1:4001, or 4002 of a paper account"
    mend = f"have {file} say {line}, then: {paths.systemctl()} restart ibgw@{name}"
    shown = f"was {was!r}" if was else "was none"
    return "problem", f"{file}: expected GATEWAY=ADDRESS:PORT, in numbers, {shown}", mend


def _finding(configured: str, level: Level, text: str, mend: str) -> Finding:
    return Finding(check=CHECK, level=level, text=f"{configured}: {text}", mend=mend)
