"""Our own units, as each manager is given them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from piker import brokers
from piker.core.unitfile import BadUnit, Specifiers, parse
from piker.core.units import AnyUnit, Name, ServiceUnit, SocketUnit, build

UNITS = Path(__file__).parents[1] / "units"
HERE = Specifiers(instance="ib", runtime="/run/me", home="/home/me", state="/st", config="/co")
MANAGERS = ("user", "system")


def files(name: str, manager: str) -> Iterator[Path]:
    """A unit's file, then its drop-ins in the order in which they count."""
    named = Name.of(name)
    assert named is not None
    directories = (UNITS, UNITS / manager)
    for directory in directories:
        yield from directory.glob(named.file)
    owners = {f"{named.file}.d", f"{named.full}.d"}
    found = [each for owner in owners for here in directories for each in here.glob(f"{owner}/*")]
    yield from sorted(found, key=lambda path: path.name)


def words(name: str, manager: str, section: str, directive: str) -> tuple[str, ...]:
    """What a unit is told by one directive, in all its files; an empty one takes back."""
    lines = [line for file in files(name, manager) for line in _lines(file, section)]
    given: list[str] = []
    for each in lines:
        key, _, value = each.partition("=")
        if key == directive:
            given = [*given, *value.split()] if value else []
    return tuple(given)


def _lines(file: Path, section: str) -> Iterator[str]:
    for part in re.split(r"^(?=\[)", file.read_text(), flags=re.MULTILINE):
        if part.startswith(f"[{section}]"):
            yield from part.splitlines()


@pytest.mark.parametrize(
    "path",
    sorted(each for each in UNITS.rglob("*.*") if each.is_file() and "system" not in each.parts),
    ids=lambda path: str(path.relative_to(UNITS)),
)
def test_pikerd_knows_every_directive_of_the_units_that_it_reads(path: Path) -> None:
    assert parse(path.read_text(), path.name)


def test_no_two_drop_ins_of_a_unit_have_one_name() -> None:
    """The one would silently replace the other."""
    for manager in MANAGERS:
        for name in [*OUR_SOCKETS, *BOUND]:
            names = [path.name for path in files(name, manager)]
            assert len(names) == len(set(names)), (name, manager)


def ours(name: str) -> AnyUnit:
    """One of our own units as pikerd reads it, of the provider "ib"."""
    named = Name.of(name)
    assert named is not None
    said = [(path.name, path.read_text()) for path in files(name, "user")]
    return build(named, said, replace(HERE, instance=named.instance or ""))


def our_service(name: str) -> ServiceUnit:
    unit = ours(name)
    assert isinstance(unit, ServiceUnit)
    return unit


def our_socket(name: str) -> SocketUnit:
    unit = ours(name)
    assert isinstance(unit, SocketUnit)
    return unit


OUR_SOCKETS = {
    "samplerd.socket": ("samplerd.service", "samplerd/samplerd.sock", "samplerd"),
    "datad@ib.socket": ("datad@ib.service", "datad/ib.sock", "datad"),
    "paperboi@ib.socket": ("paperboi@ib.service", "paperboi/ib.sock", "paperboi"),
    "brokerd@ib.socket": ("brokerd@ib.service", "brokerd/ib.sock", "brokerd"),
    "emsd.socket": ("emsd.service", "emsd/view.sock", "view"),
    "emsd-trade.socket": ("emsd.service", "emsd/trade.sock", "trade"),
    "iblane@live.socket": ("iblane@live.service", "iblane/live.sock", "iblane"),
    "ibgw@live.socket": ("ibgw@live.service", "ibgw/live.sock", "ibgw"),
}
DAEMONS = ["datad", "samplerd", "emsd", "paperboi", "brokerd", "sim-venue", "iblane", "ibgw"]


def test_all_of_our_sockets_are_known_here() -> None:
    files = {named.file for named in map(Name.of, OUR_SOCKETS) if named}
    assert {path.name for path in UNITS.glob("*.socket")} == files


@pytest.mark.parametrize("name", OUR_SOCKETS)
def test_each_of_our_sockets_starts_its_daemon_by_its_path_and_name(name: str) -> None:
    unit = our_socket(name)
    assert unit.path.startswith("/run/me/piker/")
    listens = (unit.service, unit.path.removeprefix("/run/me/piker/"), unit.fd_name)
    assert listens == OUR_SOCKETS[name]


@pytest.mark.parametrize("name", OUR_SOCKETS)
def test_each_of_our_sockets_makes_every_directory_that_a_sandbox_binds(name: str) -> None:
    made = {word for command in our_socket(name).prepare for word in command}
    assert {f"/run/me/piker/{daemon}" for daemon in DAEMONS} | {"/co/piker"} <= made


@pytest.mark.parametrize("name", OUR_SOCKETS)
def test_our_sockets_are_for_their_user_alone_and_queue_a_crowd(name: str) -> None:
    unit = our_socket(name)
    assert (unit.socket_mode, unit.directory_mode, unit.backlog) == (0o600, 0o700, 4096)
    assert (unit.trigger_interval_s, unit.trigger_burst) == (2.0, 50)
    private = ("/co", "/co/piker", "/co/piker-credentials")
    assert ("/bin/mkdir", "-p", "-m", "0700", *private) in unit.prepare


OUR_DAEMONS = {
    "samplerd.service": (["piker.samplerd"], ["samplerd.socket"]),
    "datad@ib.service": (["piker.datad", "ib"], ["datad@ib.socket"]),
    "paperboi@ib.service": (["piker.paperboi", "ib"], ["paperboi@ib.socket"]),
    "brokerd@ib.service": (["piker.brokerd", "ib"], ["brokerd@ib.socket"]),
    "emsd.service": (["piker.emsd"], ["emsd.socket", "emsd-trade.socket"]),
    "iblane@live.service": (["piker.iblane", "live"], ["iblane@live.socket"]),
}


@pytest.mark.parametrize("name", OUR_DAEMONS)
def test_each_of_our_daemons_says_when_it_is_ready_and_requires_its_sockets(name: str) -> None:
    unit = our_service(name)
    arguments, sockets = OUR_DAEMONS[name]
    assert list(unit.command) == ["/usr/lib/piker/bin/python", "-I", "-m", *arguments]
    assert unit.type == "notify"
    assert list(unit.head.requires) == sockets
    assert set(unit.sockets) == set(sockets)
    assert unit.force_restart == unit.success == frozenset({75})
    assert unit.head.part_of == ("piker.target",)


def test_only_brokerd_is_given_a_credential_and_it_has_a_default() -> None:
    given = {name: our_service(name).load_credentials for name in OUR_DAEMONS}
    here = "/run/me/piker-credentials/ib"
    handed = (("piker-problems", f"{here}/piker-problems"), ("token", f"{here}/token"))
    assert {name: each for name, each in given.items() if each} == {"brokerd@ib.service": handed}
    defaults = our_service("brokerd@ib.service").set_credentials
    assert defaults == (("token", "none"), ("piker-problems", "none"))


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("provider", sorted(brokers.BUILT_IN))
def test_every_credential_that_a_provider_of_ours_declares_is_loaded(
    provider: str, manager: str
) -> None:
    how = {"user": "LoadCredential", "system": "LoadCredentialEncrypted"}[manager]
    loaded = words(f"brokerd@{provider}.service", manager, "Service", how)
    names = {each.partition(":")[0] for each in loaded}
    assert set(brokers.load(provider).credentials) <= names


def test_what_can_be_handed_over_is_laid_out_before_each_start_of_brokerd() -> None:
    brokerd = our_service("brokerd@ib.service").head
    assert "piker-handover@ib.service" in brokerd.wants
    assert "piker-handover@ib.service" in brokerd.after
    assert our_service("piker-handover@ib.service").type == "oneshot"


def test_each_daemon_keeps_its_state_in_a_directory_of_its_own() -> None:
    kept = {name: our_service(name).state_directories for name in OUR_DAEMONS}
    assert {name: each for name, each in kept.items() if each} == {
        "datad@ib.service": ("piker-datad/history/ib",),
        "emsd.service": ("piker-emsd",),
        "paperboi@ib.service": ("piker-paperboi",),
    }
    assert {our_service(name).state_mode for name, each in kept.items() if each} == {0o700}


def test_a_datad_looks_for_its_own_history_where_that_of_all_providers_is() -> None:
    assert ("STATE_DIRECTORY", "/st/piker-datad") in our_service("datad@ib.service").environment


def test_to_start_a_datad_brings_up_the_sockets_of_all_that_trades_on_its_prices() -> None:
    wants = set(our_service("datad@ib.service").head.wants)
    gateways = {"iblane@live.socket", "ibgw@live.socket"}
    assert wants == set(OUR_SOCKETS) - {"datad@ib.socket"} - gateways


@pytest.mark.parametrize(
    ("name", "command", "wants"),
    [
        (
            "piker-panic@ib.service",
            ["piker.panic", "ib"],
            ["brokerd@ib.socket", "paperboi@ib.socket"],
        ),
        ("piker-resume.service", ["piker.resume"], ["emsd.socket", "emsd-trade.socket"]),
    ],
)
def test_what_is_done_once_knows_emsds_state_and_has_whom_it_asks_listened_for(
    name: str, command: list[str], wants: list[str]
) -> None:
    unit = our_service(name)
    assert (unit.type, unit.state_directories) == ("oneshot", ("piker-emsd",))
    assert list(unit.command) == ["/usr/lib/piker/bin/python", "-I", "-m", *command]
    assert list(unit.head.wants) == wants
    assert set(wants) <= set(unit.head.after)


def test_our_datad_may_leave_its_bars_with_the_manager() -> None:
    assert our_service("datad@ib.service").fd_store_max == 4096


BOUND = {
    "samplerd.service": set(),
    "datad@replay.service": {"samplerd"},
    "datad@ib.service": {"samplerd", "iblane"},
    "paperboi@ib.service": {"datad"},
    "brokerd@ib.service": {"ibgw"},
    "brokerd@replay.service": set(),
    "iblane@live.service": {"ibgw"},
    "ibgw@live.service": set(),
    "brokerd@sim.service": {"sim-venue"},
    "emsd.service": {"datad", "paperboi", "brokerd"},
    "piker-panic@ib.service": {"paperboi", "brokerd"},
}
"""Whom each may connect to: the directory is the capability."""


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("name", BOUND)
def test_each_sandbox_has_the_directories_of_those_it_may_connect_to_and_no_other(
    name: str, manager: str
) -> None:
    bound = words(name, manager, "Service", "BindReadOnlyPaths")
    ours = {path.removeprefix("%t/piker/") for path in bound if path.startswith("%t/piker")}
    assert ours == BOUND[name]
    assert words(name, manager, "Service", "BindPaths") == ()


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("name", BOUND)
def test_a_sandbox_hides_homes_and_all_of_run_and_var(name: str, manager: str) -> None:
    hidden = words(name, manager, "Service", "TemporaryFileSystem")
    assert {"/home:ro", "/root:ro", "/run:ro", "/var:ro"} <= set(hidden)


@pytest.mark.parametrize("name", BOUND)
def test_a_unit_without_its_drop_ins_hides_what_it_needs_to_start(name: str) -> None:
    """It fails closed: without them it is told to hide all, and given nothing back."""
    named = Name.of(name)
    assert named is not None
    alone = (UNITS / named.file).read_text()
    assert "TemporaryFileSystem=/home:ro /root:ro /run:ro /var:ro\n" in alone
    assert "%t/systemd/notify" not in alone


USERS = {
    "samplerd.service": "piker-samplerd",
    "datad@ib.service": "piker-datad",
    "paperboi@ib.service": "piker-paperboi",
    "brokerd@ib.service": "piker-brokerd",
    "emsd.service": "piker-emsd",
    "piker-panic@ib.service": "piker-emsd",
    "piker-resume.service": "piker-emsd",
    "iblane@live.service": "piker-iblane",
    "ibgw@live.service": "piker-ibgw",
}


@pytest.mark.parametrize("name", USERS)
def test_each_daemon_has_a_user_of_its_own_in_the_system_manager(name: str) -> None:
    assert words(name, "system", "Service", "User") == (USERS[name],)
    assert words(name, "user", "Service", "User") == ()
    assert words(name, "system", "Service", "PrivateUsers") == ()


MAY_CONNECT = {
    "samplerd.socket": "piker-samplerd",
    "datad@ib.socket": "piker-view",
    "paperboi@ib.socket": "piker-emsd",
    "brokerd@ib.socket": "piker-emsd",
    "emsd.socket": "piker-view",
    "emsd-trade.socket": "piker-trade",
    "iblane@live.socket": "piker-iblane",
    "ibgw@live.socket": "piker-ibgw",
}


@pytest.mark.parametrize("name", MAY_CONNECT)
def test_a_group_says_who_may_connect_in_the_system_manager(name: str) -> None:
    assert words(name, "system", "Socket", "SocketGroup") == (MAY_CONNECT[name],)
    assert words(name, "system", "Socket", "SocketMode")[-1] == "0660"
    assert words(name, "user", "Socket", "SocketGroup") == ()
    assert words(name, "user", "Socket", "SocketMode") == ("0600",)


def test_out_of_memory_the_order_path_ends_last() -> None:
    for manager in MANAGERS:
        adjusted = {
            name: int(words(name, manager, "Service", "OOMScoreAdjust")[-1])
            for name in USERS
            if name != "piker-resume.service"
        }
        order_path = (
            *("emsd.service", "brokerd@ib.service", "piker-panic@ib.service"),
            "ibgw@live.service",
        )
        last = max(adjusted.pop(name) for name in order_path)
        assert last < min(adjusted.values())


# --- the way to a gateway

NETWORK = ("PrivateNetwork", "RestrictAddressFamilies")


@pytest.mark.parametrize("manager", MANAGERS)
def test_ibgw_alone_has_a_network(manager: str) -> None:
    """The last PrivateNetwork= counts; address families add up."""
    told = {name: [words(name, manager, "Service", each) for each in NETWORK] for name in BOUND}
    inet = {name for name, (alone, families) in told.items() if alone[-1] == "no" or families[1:]}
    assert inet == {"ibgw@live.service"}


def test_under_the_system_manager_ibgw_reaches_this_machine_only() -> None:
    told = [
        words("ibgw@live.service", "system", "Service", f"IPAddress{each}")
        for each in ("Deny", "Allow")
    ]
    assert told == [("any",), ("localhost",)]


@pytest.mark.parametrize("manager", MANAGERS)
def test_ibgw_without_an_address_leads_nowhere_and_starts_all_the_same(manager: str) -> None:
    """A default must be no other gateway's address, and a missing file no reason to fail."""
    assert "GATEWAY=/no-GATEWAY-is-set" in words(
        "ibgw@live.service", manager, "Service", "Environment"
    )
    files = words("ibgw@live.service", manager, "Service", "EnvironmentFile")
    assert files == ("-%E/piker/ibgw/%i.env",)
    assert words("ibgw@live.service", manager, "Service", "Type")[-1] == "exec"


def test_pikerd_runs_no_ibgw_and_nothing_that_it_runs_wants_one() -> None:
    """It knows neither that type nor variables in commands; there a gateway has an address."""
    with pytest.raises(BadUnit, match="Type=: expected notify"):
        ours("ibgw@live.service")
    wants = [each for name in OUR_DAEMONS for each in our_service(name).head.wants]
    assert [each for each in wants if each.startswith("ib")] == []
