"""How each attack is shown to have had its way."""

from collections.abc import Callable, Iterable

from tests.system.attacking import HOSTILE, LIVE, PRIVATE, TOKEN, Scene
from tests.system.hostile.outside import BANNER
from tests.system.hostile.prey import Outcome
from tests.system.hostile.processes import ODD, SCORE
from tests.system.hostile.sockets import TEXT

SECRETS = ("environment", "memory-by-file", "memory-by-call", "memory-by-ptrace")
"""Ways to what lies in a victim's memory."""

EVIDENCE = {
    "maps": "[stack]",
    "descriptors": "socket:",
    "copied-descriptors": "socket:",
    **dict.fromkeys(("read-home", "read-media", "read-elsewhere", "read-history"), PRIVATE),
    **dict.fromkeys(("read-orders-on-disk", "read-paper-account-on-disk"), "SQLite format 3"),
    "read-journal": "LPKSHHRH",
    "read-bars": "pikrbars",
    "read-cmdline": "piker.emsd",
    "read-network-table": "/systemd/private",
    "read-mount-table": "/piker",
    **dict.fromkeys(("reach-bus", "reach-system-bus"), "org.freedesktop.DBus"),
    "reach-emsd-to-view": LIVE["oid"],
    **dict.fromkeys(("reach-socket-of-the-session", "reach-display", "reach-tcp"), BANNER),
    **dict.fromkeys(("reach-udp", "reach-abstract-socket", "read-shared-memory"), BANNER),
    **dict.fromkeys(("read-terminal", "read-ipc", "read-keyring"), BANNER),
    "join-sibling": "/emsd.service",
    "freeze-sibling": "freeze=1",
}
"""What must be in what was got; of the others their word is taken."""


def succeeded(scene: Scene, outcomes: Iterable[Outcome]) -> set[str]:
    """The attacks that had their way. Fails if one was not tried as it should be."""
    tried = list(outcomes)
    assert [each.broken for each in tried if each.broken] == []
    effects = effects_of(scene)
    return {each.attack for each in tried if _proven(scene, effects, each)}


def _proven(scene: Scene, effects: dict[str, Callable[[], bool]], outcome: Outcome) -> bool:
    if outcome.attack in effects:
        return effects[outcome.attack]()
    return outcome.got is not None and _evidence(scene, outcome.attack) in outcome.got


def _evidence(scene: Scene, attack: str) -> str:
    way, _, victim = attack.partition("-of-")
    if way in SECRETS:
        return scene.secrets[victim]
    if way == "namespaces":
        pid = getattr(scene.prey, victim).pid
        return scene.desk.machine.run(["readlink", f"/proc/{pid}/ns/mnt"]).stdout.strip()
    return TOKEN if attack.startswith("token-") else EVIDENCE.get(way, "")


def effects_of(scene: Scene) -> dict[str, Callable[[], bool]]:
    """Whether it has happened, as others see it, whatever the attacker says."""
    return {**_on_files(scene), **_on_sockets(scene), **_on_processes(scene)}


def _on_files(scene: Scene) -> dict[str, Callable[[], bool]]:
    prey = scene.prey
    written = {
        "write-shared-memory": "/dev/shm/hostile",
        "write-unit": f"{prey.units}/brokerd@sim.service.d/hostile.conf",
        "write-environment": f"{prey.configuration}/environment.d/hostile.conf",
        "write-profile": f"{prey.home}/.profile",
        "write-bashrc": f"{prey.home}/.bashrc",
        "write-configuration": f"{prey.configuration}/piker/piker.toml",
        "write-credentials": f"{prey.token}.hostile",
        "write-temporary-file": "/var/tmp/hostile",
        "write-orders-on-disk": f"{prey.emsd_state}/hostile",
        "write-paper-account-on-disk": f"{prey.paperboi_state}/hostile",
        "write-history": f"{prey.history}/hostile",
        "halt": f"{prey.emsd_state}/halt",
    }
    effects = {name: _says(scene, path, "hostile") for name, path in written.items()}
    return {**effects, "token-by-transient-unit": _says(scene, f"{prey.home}/stolen", TOKEN)}


def _on_sockets(scene: Scene) -> dict[str, Callable[[], bool]]:
    desk = scene.desk
    desk.machine.run(["journalctl", "--sync"])
    doors = {"emsd": "trade", "brokerd": "sim", "samplerd": "samplerd"}
    journal = ["journalctl", "--no-pager", "--output=cat", f"--grep={TEXT}"]
    return {
        **{f"hijack-{daemon}": _taken(scene, f"{daemon}/{door}") for daemon, door in doors.items()},
        "set-environment": lambda: "PIKER_HOSTILE" in desk.systemctl("show-environment"),
        "order-by-emsd": lambda: "error" not in desk.timeline(HOSTILE),
        "write-journal": lambda: TEXT in desk.machine.run(journal, check=False).stdout,
    }


def _on_processes(scene: Scene) -> dict[str, Callable[[], bool]]:
    emsd, paperboi = (f"/proc/{each.pid}" for each in (scene.prey.emsd, scene.prey.paperboi))
    return {
        "write-memory-by-file": _says(scene, f"{paperboi}/environ", "BY_FILE"),
        "write-memory-by-call": _says(scene, f"{paperboi}/environ", "BY_CALL"),
        "limit-sibling": _says(scene, f"{emsd}/limits", f"msgqueue size *{ODD}"),
        "dump-sibling": _says(scene, f"{emsd}/limits", f"core file size *{ODD}"),
        "doom-sibling": _says(scene, f"/proc/{scene.prey.person}/oom_score_adj", SCORE),
    }


def _says(scene: Scene, path: str, text: str) -> Callable[[], bool]:
    find = ["grep", "--quiet", "--text", text, path]
    return lambda: scene.desk.machine.run(find, check=False).returncode == 0


def _taken(scene: Scene, door: str) -> Callable[[], bool]:
    path = f"{scene.prey.runtime}/piker/{door}.sock.hostile"
    return lambda: scene.desk.machine.exists(path)
