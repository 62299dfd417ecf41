"""What is found out of the suite that one manager runs; a function a fact."""

import json
import pwd
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from machine import RUNTIME_DIRECTORY, USER, wait_until

from tests.system.attacking import OF_A_USER, Desk, a_scene
from tests.system.proofs import succeeded
from tests.vm.inside import here

LIMITS = ("memory.max", "memory.high", "pids.max")
DATAD = "datad@replay"
PATIENCE_S = 30
"""For an attack."""
LITTLE = "16M"
"""Less memory than any daemon needs."""

PROBED = {
    "samplerd": "samplerd/samplerd",
    "emsd": "emsd/view",
    "datad@probe": "datad/probe",
    "paperboi@probe": "paperboi/probe",
    "brokerd@probe": "brokerd/probe",
}
STAND_IN = """[Service]
Type=exec
WatchdogSec=0
Restart=no
ExecStart=
ExecStart=/usr/lib/piker/bin/python -I /opt/vm/tests/vm/inside/probe.py
"""
PATIENT = """[Service]
ExecStart=
ExecStart=/usr/lib/piker/bin/python -I -c \\
    "import piker.datad; piker.datad.ASK_VENUE_S = 900; piker.datad.main()" %i
"""
"""All attacks are one question to a provider, which takes longer here than datad waits for it."""
LEFT_BY_A_SCENE = ("/opt/venue", "/tmp/.X11-unix/X9", f"{RUNTIME_DIRECTORY}/prey.sock")
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"

# As root in the network of a daemon: its interfaces, and whether each is up (netdevice(7)).
UP = """
import fcntl, json, socket, struct
SIOCGIFFLAGS, IFF_UP = 0x8913, 1
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
    found = {}
    for _, name in socket.if_nameindex():
        asked = fcntl.ioctl(any, SIOCGIFFLAGS, struct.pack("16sh22x", name.encode(), 0))
        found[name] = bool(struct.unpack("16sh22x", asked)[1] & IFF_UP)
print(json.dumps(found))
"""


def daemons(desk: Desk) -> Mapping[str, str]:
    """How each says that it is, once it is started."""
    here.start(desk)
    return {unit: here.health(desk, unit) for unit in here.DOORS}


def failed(desk: Desk) -> list[str]:
    """The manager's state, and the units of any kind that failed."""
    ask = ["systemctl", f"--{desk.manager.name}", "is-system-running"]
    state = desk.machine.run(ask, user=_asker(desk), check=False)
    listed = desk.systemctl("list-units", "--failed", "--plain", "--no-legend")
    return [state.stdout.strip(), *(line.split()[0] for line in listed.splitlines())]


def limits(desk: Desk) -> Mapping[str, Mapping[str, str]]:
    """What the kernel keeps each daemon to."""
    groups = {unit: here.cgroup(desk, f"{unit}.service") for unit in here.DOORS}
    return {
        unit: {name: (group / name).read_text().strip() for name in LIMITS}
        for unit, group in groups.items()
    }


def oom_scores(desk: Desk) -> Mapping[str, int]:
    """By what the kernel chooses who ends when there is no memory left; high ends first."""
    paths = {unit: f"/proc/{here.pid(desk, unit)}/oom_score_adj" for unit in here.DOORS}
    return {unit: int(Path(path).read_text()) for unit, path in paths.items()}


def exposure(desk: Desk) -> Mapping[str, float]:
    """What systemd-analyze thinks of each daemon's sandbox: 0 to 10, less is better."""
    found = {}
    for unit in here.DOORS:
        ask = ["systemd-analyze", f"--{desk.manager.name}", "--no-pager", "security"]
        said = desk.machine.run([*ask, f"{unit}.service"], user=_asker(desk)).stdout
        (score,) = re.findall(r"exposure level for .*?: ([\d.]+)", said)
        found[unit] = float(score)
    return found


def surroundings(desk: Desk) -> Mapping[str, object]:
    """Which user namespace each daemon is in, and whether its network is up."""
    return {unit: _surroundings(desk, here.pid(desk, unit)) for unit in here.DOORS}


def _surroundings(desk: Desk, pid: str) -> Mapping[str, object]:
    network = ["nsenter", f"--net=/proc/{pid}/ns/net", "python3", "-c", UP]
    own = desk.machine.run(["readlink", f"/proc/{pid}/ns/user"]).stdout.strip()
    return {
        "own_user_namespace": own != here.name_of_pid_1(),
        "network": json.loads(desk.machine.run(network).stdout),
    }


def sandboxes(desk: Desk) -> Mapping[str, object]:
    """What another program sees in the place of each daemon, and which peer."""
    desk.systemctl("stop", "piker.target")  # so that no daemon asks another
    return {unit.partition("@")[0]: _sandbox(desk, unit) for unit in PROBED}


def _sandbox(desk: Desk, unit: str) -> Mapping[str, object]:
    drop_in = f"{desk.manager.units}/{unit}.service.d/90-probe.conf"
    desk.keep(drop_in, STAND_IN, mode="644")
    desk.systemctl("daemon-reload")
    desk.systemctl("start", unit)
    path = f"{desk.manager.runtime}/piker/{PROBED[unit]}.sock"
    connect = [*here.who(here.peer_of(desk)), "python3", "-c", CONNECT, path]
    desk.machine.run(connect)
    wait_until(lambda: desk.show(unit, "ActiveState") == "inactive", f"{unit} looked around")
    desk.machine.run(["rm", drop_in])
    desk.systemctl("daemon-reload")
    said = [str(each["MESSAGE"]) for each in here.journal(desk, unit)]
    seen = json.loads([each for each in said if each.startswith('{"peer_uid"')][-1])
    return {**seen, "peer": pwd.getpwuid(seen["peer_uid"]).pw_name}


def over_its_limit(desk: Desk) -> Mapping[str, object]:
    """What becomes of all when datad has more memory than it may have."""
    here.start(desk)
    here.arm(desk, 0)
    before, limit = _pids(desk), desk.show(DATAD, "MemoryMax")
    desk.systemctl("set-property", "--runtime", f"{DATAD}.service", f"MemoryMax={LITTLE}")
    wait_until(lambda: int(desk.show(DATAD, "NRestarts")) > 0, "datad is started anew")
    desk.systemctl("set-property", "--runtime", f"{DATAD}.service", f"MemoryMax={limit}")
    wait_until(partial(_answers, desk, DATAD), "datad answers again")
    after = _pids(desk)
    return {
        "ended": [unit for unit in before if before[unit] != after[unit]],
        "results": sorted({str(each["UNIT_RESULT"]) for each in _results(desk)}),
        "order": here.state_of(desk, 0),
        "limit": limits(desk)[DATAD]["memory.max"],
    }


def _results(desk: Desk) -> list[Mapping[str, object]]:
    return [each for each in here.journal(desk, DATAD) if "UNIT_RESULT" in each]


def out_of_memory(desk: Desk) -> Mapping[str, object]:
    """Who ends when all daemons together have more memory than there is for them."""
    here.start(desk)
    group, before = here.cgroup(desk, "piker.slice"), _pids(desk)
    restarts = int(desk.show(DATAD, "NRestarts"))
    little = _not_reclaimable(group) * 4 // 5
    desk.systemctl("set-property", "--runtime", "piker.slice", f"MemoryMax={little}")
    wait_until(lambda: int(desk.show(DATAD, "NRestarts")) > restarts, "datad is started anew")
    desk.systemctl("set-property", "--runtime", "piker.slice", "MemoryMax=infinity")
    for unit in here.DOORS:
        wait_until(partial(_answers, desk, unit), f"{unit} answers")
    after = _pids(desk)
    return {
        "ended": [unit for unit in before if before[unit] != after[unit]],
        "killed_in_order": _killed(desk, before),
    }


def _not_reclaimable(group: Path) -> int:
    """Bytes in use that are not of files: without swap, ending somebody alone frees them."""
    lines = (group / "memory.stat").read_text().splitlines()
    used = {name: int(count) for name, count in (line.split() for line in lines)}
    return used["anon"] + used["kernel"]


def _killed(desk: Desk, pids: Mapping[str, str]) -> list[str]:
    """Which of these processes the kernel says that it killed, the first one first."""
    said = desk.machine.run(["journalctl", "--dmesg", "--output=cat", "--no-pager"]).stdout
    units = {pid: unit for unit, pid in pids.items()}
    return [units[pid] for pid in re.findall(r"Killed process (\d+)", said) if pid in units]


def _answers(desk: Desk, unit: str) -> bool:
    try:
        return here.health(desk, unit) in ("running", "degraded", "failed")
    except (OSError, AssertionError):  # it is killed while it is asked
        return False


def _pids(desk: Desk) -> Mapping[str, str]:
    return {unit: here.pid(desk, unit) for unit in here.DOORS}


def doctor(desk: Desk) -> list[object]:
    """What `piker doctor` finds."""
    command = ["piker", f"--{desk.manager.name}", "doctor", "--json"]
    said = desk.machine.run(command, user=_asker(desk), check=False)
    assert said.stdout, said.stderr
    return [json.loads(line) for line in said.stdout.splitlines()]


def orders_again(desk: Desk, count: int) -> list[str]:
    """The dark orders after a boot, when emsd is there by itself, and so is who has prices."""
    for unit in ("emsd", DATAD):
        wait_until(partial(_is_active, desk, unit), f"{unit} is there again")
    return [here.state_of(desk, number) for number in range(count)]


def _is_active(desk: Desk, unit: str) -> bool:
    return desk.show(unit, "ActiveState") == "active"


def attacks(desk: Desk) -> list[str]:
    """What a hostile datad gets."""
    desk.machine.run(["systemctl", "stop", "venue"], check=False)
    desk.machine.run(["rm", "-rf", *LEFT_BY_A_SCENE])
    desk.keep(f"{desk.manager.units}/datad@hostile.service.d/90-patient.conf", PATIENT, mode="644")
    desk.systemctl("daemon-reload")
    desk.systemctl("stop", "emsd")  # it has read its settings before there was a live account
    with a_scene(desk.machine, desk.manager, PATIENCE_S) as scene:
        return sorted(succeeded(scene, scene.attack()))


def _asker(desk: Desk) -> str | None:
    """Who asks that manager; None is root."""
    return USER if desk.manager is OF_A_USER else None
