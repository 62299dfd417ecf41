"""All attacks, by name. Each gives what it got; OSError or Stopped leaves one that got nowhere.

What changes something for others comes last: the halt would stop the order.
"""

from collections.abc import Callable
from functools import partial

from . import files, kernel, manager, processes, sockets
from .prey import Prey
from .reasons import Stopped

__all__ = ["Attack", "Stopped", "attacks"]

Attack = Callable[[Prey], str]


def attacks(prey: Prey) -> dict[str, Attack]:
    """Every attack there is on this prey."""
    return {**_READING, **_on_victims(prey), **_REACHING, **_ASKING_THE_KERNEL, **_CHANGING}


def _on_victims(prey: Prey) -> dict[str, Attack]:
    """Each way into a process, for each of those that are worth it."""
    return {
        f"{way}-of-{victim}": partial(_on, attack, victim)
        for victim in prey.victims
        for way, attack in processes.WAYS.items()
    }


def _on(attack: processes.Way, victim: str, prey: Prey) -> str:
    return attack(getattr(prey, victim))


_READING: dict[str, Attack] = {
    "token-by-file": lambda prey: files.read(prey.token),
    "token-by-credential-directory": lambda prey: files.read(prey.credential),
    "token-by-root-of-manager": lambda prey: processes.under_root(prey.manager, prey.token),
    "token-by-root-of-emsd": lambda prey: processes.under_root(prey.emsd, prey.token),
    "token-by-root-of-brokerd": lambda prey: processes.under_root(prey.brokerd, prey.credential),
    "token-by-unmounting": lambda prey: kernel.unmount(prey.home, prey.token),
    "token-by-mounting": lambda prey: kernel.mount(prey.home, prey.token),
    "token-by-transient-unit": manager.steal,
    "read-home": lambda prey: files.read(f"{prey.home}/prey"),
    "read-media": lambda prey: files.read("/media/prey"),
    "read-elsewhere": lambda prey: files.read("/srv/prey"),
    "read-terminal": lambda prey: files.terminals(),
    "read-orders-on-disk": lambda prey: files.heads(prey.emsd_state),
    "read-paper-account-on-disk": lambda prey: files.heads(prey.paperboi_state),
    "read-history": lambda prey: files.read(f"{prey.history}/prey"),
    "read-journal": lambda prey: files.heads("/var/log/journal", "/run/log/journal"),
    "read-bars": lambda prey: processes.shared_memory(prey.datad),
    "read-network-table": lambda prey: files.read(f"/proc/{prey.manager.pid}/net/unix"),
    "read-mount-table": lambda prey: files.read(f"/proc/{prey.emsd.pid}/mountinfo"),
    "list-descriptors": lambda prey: processes.list_descriptors(prey.person),
    "read-cmdline": lambda prey: files.read(f"/proc/{prey.emsd.pid}/cmdline"),
}

_REACHING: dict[str, Attack] = {
    "reach-bus": lambda prey: manager.list_names(f"{prey.session}/bus"),
    "reach-system-bus": lambda prey: manager.list_names("/run/dbus/system_bus_socket"),
    "reach-emsd-to-view": sockets.read_order,
    "reach-brokerd": lambda prey: sockets.health(prey, "brokerd/sim"),
    "reach-paperboi": lambda prey: sockets.health(prey, "paperboi/sim"),
    "reach-other-datad": lambda prey: sockets.health(prey, "datad/sim"),
    "reach-venue": lambda prey: sockets.connect(f"{prey.runtime}/piker/sim-venue/venue.sock"),
    "reach-socket-of-the-session": lambda prey: sockets.banner(f"{prey.session}/prey.sock"),
    "reach-display": lambda prey: sockets.banner("/tmp/.X11-unix/X9"),
    "reach-abstract-socket": lambda prey: sockets.banner("\0prey"),
    "reach-tcp": lambda prey: sockets.tcp(prey.port),
    "reach-udp": lambda prey: sockets.udp(prey.port),
    "reach-notify-socket": sockets.notify,
    "read-shared-memory": lambda prey: files.read("/dev/shm/prey"),
    "read-ipc": kernel.read_ipc,
    "read-keyring": kernel.read_keyring,
}

_ASKING_THE_KERNEL: dict[str, Attack] = {
    "new-user-namespace": kernel.new_user_namespace,
    "io-uring": kernel.io_uring,
    "perf-event": kernel.perf_event,
    "bpf": kernel.bpf,
    "vsock": lambda prey: sockets.make("AF_VSOCK"),
    "packet-socket": lambda prey: sockets.make("AF_PACKET"),
    "netlink": lambda prey: sockets.make("AF_NETLINK"),
}

_CHANGING: dict[str, Attack] = {
    "order-by-emsd": sockets.order,
    "set-environment": manager.set_environment,
    "write-memory-by-file": processes.write_memory,
    "write-memory-by-call": processes.write_memory_by_call,
    "write-journal": sockets.write_journal,
    "write-shared-memory": lambda prey: files.write("/dev/shm/hostile"),
    "write-unit": lambda prey: files.write(f"{prey.units}/brokerd@sim.service.d/hostile.conf"),
    "write-environment": lambda prey: files.write(
        f"{prey.configuration}/environment.d/hostile.conf"
    ),
    "write-profile": lambda prey: files.append(f"{prey.home}/.profile"),
    "write-bashrc": lambda prey: files.append(f"{prey.home}/.bashrc"),
    "write-configuration": lambda prey: files.append(f"{prey.configuration}/piker/piker.toml"),
    "write-credentials": lambda prey: files.write(f"{prey.token}.hostile"),
    "write-code": lambda prey: files.append(__file__),
    "write-temporary-file": lambda prey: files.write("/var/tmp/hostile"),
    "write-orders-on-disk": lambda prey: files.write(f"{prey.emsd_state}/hostile"),
    "write-paper-account-on-disk": lambda prey: files.write(f"{prey.paperboi_state}/hostile"),
    "write-history": lambda prey: files.write(f"{prey.history}/hostile"),
    "hijack-emsd": lambda prey: sockets.take(f"{prey.runtime}/piker/emsd/trade.sock"),
    "hijack-brokerd": lambda prey: sockets.take(f"{prey.runtime}/piker/brokerd/sim.sock"),
    "hijack-samplerd": lambda prey: sockets.take(f"{prey.runtime}/piker/samplerd/samplerd.sock"),
    "signal-sibling": lambda prey: processes.send_signal(prey.emsd),
    "limit-sibling": lambda prey: processes.limit(prey.emsd),
    "slow-sibling": lambda prey: processes.slow(prey.emsd),
    "doom-sibling": lambda prey: processes.doom(prey.person),
    "dump-sibling": lambda prey: processes.allow_dump(prey.emsd),
    "freeze-sibling": lambda prey: processes.freeze(prey.emsd),
    "join-sibling": lambda prey: processes.join_group(prey.emsd),
    "halt": lambda prey: files.write(f"{prey.emsd_state}/halt"),
}
