"""The man pages: that they build, have their sections, and say what the code says."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from msgspec import Struct

from piker import brokers, config
from piker.cli import COMMANDS, FAILED, INTERRUPTED, OPTIONS, UNREACHABLE, USAGE
from piker.core.fees import FeeSchedule
from piker.core.risk import DEFAULTS
from piker.interfaces import Interface
from piker.interfaces.broker import BROKER
from piker.interfaces.clock import CLOCK
from piker.interfaces.data import DATA
from piker.interfaces.introspection import INTROSPECTION
from piker.interfaces.orders import ORDERS, ORDERS_VIEW
from piker.interfaces.service import SERVICE
from piker.interfaces.store import STORE
from piker.interfaces.supervisor import SUPERVISOR
from piker.service import EXIT_KEEP
from tests.cli.command import call

ROOT = Path(__file__).resolve().parent.parent
PAGES = {path.stem: path for path in sorted((ROOT / "docs" / "man").glob("*.scd"))}
UNITS = [path for path in (ROOT / "units").rglob("*") if path.suffix in (".service", ".socket")]
SOCKETS = [path for path in UNITS if path.suffix == ".socket"]
TOOLS = ("scdoc", "mandoc", "man")

SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "FILES", "SECURITY", "EXAMPLE", "SEE ALSO"]
INSTANCES = {"iblane": "GATEWAY", "ibgw": "GATEWAY"}
"""What the instances of a unit are called, if not PROVIDER."""
DAEMONS = ("datad", "brokerd", "emsd", "paperboi", "samplerd")
INTERFACES = (INTROSPECTION, SERVICE, DATA, STORE, CLOCK, ORDERS, BROKER, SUPERVISOR)

NO_UNIT = {"piker/pikerd/pikerd.sock", "piker/sim-venue/venue.sock"}
"""Sockets of what systemd doesn't run."""

LIMITS = {each.name for each in msgspec.structs.fields(config.LimitSettings)}
TABLES: Mapping[str, tuple[type[Struct], ...]] = {
    "": (config.Configuration,),
    "[datad]": (config.DatadSettings,),
    "[emsd]": (config.EmsdSettings,),
    "[risk]": (config.RiskSettings, config.LimitSettings),
    '[accounts."ACCOUNT"]': (config.AccountSettings,),
    "[paperboi]": (config.PaperboiSettings,),
    "[paperboi.fees.PROVIDER]": (FeeSchedule,),
    "[notify]": (config.NotifySettings,),
    **{f"[providers.{name}]": (brokers.load(name).settings,) for name in brokers.known()},
}
"""Tables of piker.toml, and what declares their keys."""
TABLES_IN_TABLES = {
    *("datad", "emsd", "risk", "paperboi", "notify", "providers"),
    *("accounts of ", "markets of [risk]", 'risk of [accounts."ACCOUNT"]', "fees of [paperboi]"),
}

name_of = attrgetter("name")

Capture = pytest.CaptureFixture[str]


class Heading(NamedTuple):
    """A part of a page, and what stands in it."""

    section: str
    part: str
    text: str


@pytest.fixture(scope="session")
def tools() -> None:
    """What builds and checks pages, man of man-db; without it, a line says what isn't run."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing and os.environ.get("PIKER_REQUIRE_SYSTEM_TESTS") == "1":
        pytest.fail(f"man pages are to be checked: install {', '.join(missing)}")
    if missing:
        pytest.skip(f"not run: man pages aren't built, for want of {', '.join(missing)}")


# --- they build


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_builds_without_a_complaint_and_is_found_by_its_name(
    page: str, tmp_path: Path
) -> None:
    built = tmp_path / page
    built.write_text(said("scdoc", text=PAGES[page].read_text()))
    complaints = said("mandoc", "-T", "lint", "-W", "warning", str(built), status=None)
    # scdoc begins each section with an empty paragraph; it shows nowhere
    assert [each for each in complaints.splitlines() if "skipping paragraph" not in each] == []
    shown = ("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(built))
    assert said(*shown, errors=True) == ""
    assert said("lexgrog", str(built)).startswith(f'{built}: "{stem(page)} - ')


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_its_sections_in_order(page: str) -> None:
    sections = list(dict.fromkeys(each.section for each in parts(page)))
    wanted = [each for each in SECTIONS if each in sections]
    assert wanted == SECTIONS
    assert [each for each in sections if each in SECTIONS] == wanted
    assert ("EXIT STATUS" in sections) == (page.rpartition(".")[2] in "18")
    assert all(each.text.strip() for each in parts(page) if each.part or each.section != "COMMANDS")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_table_which_not_every_reader_can_show(page: str) -> None:
    assert re.search(r"^(\[\[|\]\]|\|)", PAGES[page].read_text(), re.MULTILINE) is None


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_ours_that_a_page_names_are_there(page: str) -> None:
    named = re.findall(r"\*((?:\w+d|paperboi|piker[\w.-]*))\*\((\d)\)", PAGES[page].read_text())
    ours = {f"{name}.{section}" for name, section in named} - {"systemd.1"}
    assert ours - set(PAGES) == set()
    assert page not in {each for each in ours if f"*{stem(page)}*(" in text_of(page, "SEE ALSO")}


def test_a_page_is_named_by_some_other_page() -> None:
    for page in PAGES:
        name = f"*{stem(page)}*({page.rpartition('.')[2]})"
        assert any(name in path.read_text() for other, path in PAGES.items() if other != page), name


# --- piker(1)


def test_the_page_has_each_command_and_no_other() -> None:
    assert sorted(commands()) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_each_of_its_options_and_no_other(command: str, capfd: Capture) -> None:
    assert call(command, "--help") == 0
    help_ = capfd.readouterr().out.partition("\nExample:")[0]
    options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", help_, re.MULTILINE)) - {"--help"}
    told = re.findall(r"^(\*--.*)\n\t\S", commands()[command], re.MULTILINE)
    assert set(re.findall(r"\*(--[a-z-]+)\*", "".join(told))) == options
    assert set(re.findall(r"\*(--[a-z-]+)\*", commands()[command])) == options


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_may_be_given_is_named(command: str, capfd: Capture) -> None:
    call(command, "--help")
    choices = re.findall(r"\{([\w,-]+)\}", capfd.readouterr().out)
    text = commands()[command].replace("*", "")
    assert [each for several in choices for each in several.split(",") if each not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_a_synopsis(command: str) -> None:
    assert f"*piker {command}*" in commands()[command]


def test_options_of_the_command_itself_are_those_it_takes() -> None:
    told = set(
        re.findall(
            r"^\*-\w\*, \*(--\w+)\*|^\*(--\w+)\*", text_of("piker.1", "OPTIONS"), re.MULTILINE
        )
    )
    assert {long or alone for long, alone in told} == {"--help", "--version", *chain(*OPTIONS)}


def test_variables_that_the_environment_may_hold_are_read_somewhere() -> None:
    named = re.findall(r"^\*([A-Z_]+)\*", text_of("piker.1", "ENVIRONMENT"), re.MULTILINE)
    code = "".join(path.read_text() for path in (ROOT / "piker").rglob("*.py"))
    assert [each for each in named if f'"{each}"' not in code] == []
    assert set(re.findall(r'"(PIKER_(?!MARKET|PROVIDER|OID|ACCOUNT)[A-Z]+)"', code)) <= set(named)


# --- exit statuses


def test_exit_statuses_of_the_command_are_those_it_has() -> None:
    assert statuses("piker.1") == {0, FAILED, USAGE, UNREACHABLE, INTERRUPTED}


@pytest.mark.parametrize("daemon", DAEMONS)
def test_exit_statuses_of_a_daemon_are_those_it_has(daemon: str) -> None:
    assert statuses(f"{daemon}.8") == {0, 1, 2, EXIT_KEEP}


@pytest.mark.parametrize("daemon", [*DAEMONS, "panic", "resume"])
def test_wrong_arguments_are_what_the_page_says(daemon: str) -> None:
    command = [sys.executable, "-m", f"piker.{daemon}", "--no-such-thing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    page = f"{daemon}.8" if daemon in DAEMONS else f"piker-{daemon}.8"
    assert done.returncode in statuses(page)
    assert f"*{done.returncode}*\n\tWrong arguments." in text_of(page, "EXIT STATUS")


# --- piker.toml(5)


def test_the_page_has_each_table_and_no_other() -> None:
    declared = {
        each
        for each in vars(config).values()
        if isinstance(each, type)
        and issubclass(each, Struct)
        and each.__module__ == config.__name__
    }
    assert declared <= {kind for kinds in TABLES.values() for kind in kinds}
    written = {each.part for each in parts("piker.toml.5") if each.section == "KEYS"}
    like_risk = {
        '[risk.markets."MARKET"]',
        '[accounts."ACCOUNT".risk]',
        '[accounts."ACCOUNT".risk.markets."MARKET"]',
    }
    assert written == (set(TABLES) | like_risk) - {"[paperboi]"}


@pytest.mark.parametrize("table", sorted(set(TABLES) - {"[paperboi]"}))
def test_a_table_has_each_key_with_its_default_and_no_other(table: str) -> None:
    declared = {
        field.name: default(field)
        for kind in TABLES[table]
        for field in msgspec.structs.fields(kind)
        if not {field.name, f"{field.name} of {table}"} & TABLES_IN_TABLES
    }
    assert keys(table) == declared


def test_the_example_is_a_configuration(capfd: Capture) -> None:
    directory = Path(os.environ["XDG_CONFIG_HOME"], "piker")
    directory.mkdir()
    example = text_of("piker.toml.5", "EXAMPLE").split("```")[1]
    (directory / "piker.toml").write_text(example)
    assert call("config", "check") == 0, capfd.readouterr()


# --- piker-interfaces(7)


def test_the_page_has_each_interface_and_no_other() -> None:
    written = [each.part for each in parts("piker-interfaces.7") if each.section == "INTERFACES"]
    assert written == ["", *(each.name for each in INTERFACES)]


@pytest.mark.parametrize("interface", INTERFACES, ids=name_of)
def test_an_interface_has_each_method_and_error_and_no_other(interface: Interface) -> None:
    text = next(each.text for each in parts("piker-interfaces.7") if each.part == interface.name)
    lines = re.findall(r"^- \*(\w+)\*\(([^)]*)\)(?:, (\w+))?: \S", text, re.MULTILINE)
    assert sorted(lines) == sorted([*methods(interface), *errors(interface)])


def test_what_may_only_be_looked_at_is_named() -> None:
    text = next(each.text for each in parts("piker-interfaces.7") if each.part == "piker.Orders")
    only = re.search(r"at view\.sock only ([^.]+)\.", text.replace("\n", " "))
    assert only is not None
    assert re.split(r", | and ", only[1]) == [each.name for each in ORDERS_VIEW.methods]


# --- units and sockets


@pytest.mark.parametrize("unit", UNITS, ids=name_of)
def test_a_unit_has_a_page_that_names_it(unit: Path) -> None:
    named = PAGES[page_of(unit)].read_text().replace("*_PROVIDER_*", "").replace("_", "")
    assert unit.stem.replace("emsd-trade", "trade") in named


def test_sockets_that_pages_name_are_those_that_units_listen_at() -> None:
    listening = {path for unit in SOCKETS for path in listens_at(unit)}
    for page in PAGES:
        named = set(re.findall(r"(?:RUNTIME_DIR|/run)/(piker/\S+?\.sock)", PAGES[page].read_text()))
        assert {instance(each) for each in named} - NO_UNIT <= listening, page


@pytest.mark.parametrize("unit", SOCKETS, ids=name_of)
def test_the_page_of_a_daemon_names_its_sockets_of_both_modes(unit: Path) -> None:
    text = text_of(page_of(unit), "SOCKETS")
    for path in listens_at(unit):
        assert f"$XDG_RUNTIME_DIR/{path}" in text
        assert f"/run/{path}" in text


@pytest.mark.parametrize("unit", SOCKETS, ids=name_of)
def test_who_may_connect_in_system_mode_is_said(unit: Path) -> None:
    groups = settings_of(unit, "system", "SocketGroup")
    assert groups
    text = text_of(page_of(unit), "SOCKETS")
    assert [each for each in groups if f"group {each}" not in text] == []


@pytest.mark.parametrize("unit", [each for each in UNITS if each not in SOCKETS], ids=name_of)
def test_state_of_a_unit_is_among_its_files(unit: Path) -> None:
    own = [f"/state/{each}" for each in settings_of(unit, "user", "StateDirectory")]
    own += [f"/var/lib/{each}" for each in settings_of(unit, "system", "StateDirectory")]
    named = [each.replace("%i", "PROVIDER") for each in own]
    assert [each for each in named if each not in text_of(page_of(unit), "FILES")] == []


@pytest.mark.parametrize("unit", [each for each in UNITS if each not in SOCKETS], ids=name_of)
def test_the_linux_user_of_a_unit_is_said(unit: Path) -> None:
    users = settings_of(unit, "system", "User")
    assert [each for each in users if each not in text_of(page_of(unit), "SECURITY")] == []


# --- piker-security(7)


def test_the_privileges_of_each_process_are_told() -> None:
    text = PAGES["piker-security.7"].read_text()
    told = re.findall(r"^- \*([\w@-]+)\*: network:", text, re.MULTILINE)
    services = {
        unit.stem.replace("@", "@L" if unit.stem.rstrip("@") in INSTANCES else "@P")
        for unit in UNITS
        if unit not in SOCKETS
    }
    assert sorted(told) == sorted({*services, "pikerd"})
    architecture = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    assert set(re.findall(r"^\| `([\w@-]+)` \|", architecture, re.MULTILINE)) <= set(told)


@pytest.mark.parametrize("mode", ["User mode", "System mode"])
def test_what_is_left_to_an_attacker_is_a_list(mode: str) -> None:
    text = next(each.text for each in parts("piker-security.7") if each.part == mode)
    items = [line for line in text.splitlines() if line.startswith("-")]
    assert items
    assert [each for each in items if not re.fullmatch(r"- \*[a-z-]+\*: \S.*", each)] == []


# --- what a page says


def stem(page: str) -> str:
    """The name of a page, without its section."""
    return page.rpartition(".")[0]


def parts(page: str) -> Iterator[Heading]:
    """The sections of a page and their parts."""
    section, part = "", ""
    for chunk in re.split(r"^(?=#)", PAGES[page].read_text(), flags=re.MULTILINE)[1:]:
        marks, _, rest = chunk.partition(" ")
        title, _, text = rest.partition("\n")
        section, part = (title, "") if marks == "#" else (section, title)
        yield Heading(section, part, text)


def text_of(page: str, section: str) -> str:
    """All of a section."""
    return "".join(each.text for each in parts(page) if each.section == section)


def commands() -> dict[str, str]:
    """What piker(1) says of each command."""
    return {
        name: each.text
        for each in parts("piker.1")
        if each.section == "COMMANDS" and each.part
        for name in each.part.split(", ")
    }


def statuses(page: str) -> set[int]:
    """The exit statuses that a page tells."""
    return {
        int(each) for each in re.findall(r"^\*(\d+)\*$", text_of(page, "EXIT STATUS"), re.MULTILINE)
    }


def keys(table: str) -> dict[str, object]:
    """Keys of a table of piker.toml(5), and their defaults."""
    text = next(e.text for e in parts("piker.toml.5") if (e.section, e.part) == ("KEYS", table))
    lines = re.findall(r"^\*(\w+)\*(?: = (.+))?$", text, re.MULTILINE)
    return {name: tomllib.loads(f"is = {value}")["is"] if value else None for name, value in lines}


def default(field: msgspec.structs.FieldInfo) -> object:
    """The default of a key; None if there is none."""
    value = field.default
    if field.name in LIMITS:
        value = getattr(DEFAULTS, field.name) or False
    elif value is msgspec.NODEFAULT:
        value = field.default_factory()
    return list(value) if isinstance(value, tuple) else value


def methods(interface: Interface) -> Iterator[tuple[str, str, str]]:
    """The methods of an interface, their parameters and what kind they are."""
    for method in interface.methods:
        fields = msgspec.structs.fields(method.call)
        names = [field.name if field.required else f"{field.name}?" for field in fields]
        yield method.name, ", ".join(names), method.shape


def errors(interface: Interface) -> Iterator[tuple[str, str, str]]:
    """The errors of an interface, and what they carry."""
    for fault in interface.faults:
        yield fault.__name__, ", ".join(e.name for e in msgspec.structs.fields(fault)), ""


def listens_at(unit: Path) -> list[str]:
    """Where a unit listens, below the runtime directory, as pages write it."""
    found = re.findall(r"^ListenStream=%t/(\S+)$", unit.read_text(), re.MULTILINE)
    name = INSTANCES.get(unit.stem.rstrip("@"), "PROVIDER")
    return [path.replace("%i", name) for path in found]


def instance(path: str) -> str:
    """A socket's path, its provider not named."""
    return re.sub(r"/(?:replay|sim)\.sock$", "/PROVIDER.sock", path)


def page_of(unit: Path) -> str:
    """The page that a unit names, or that has its name."""
    named = re.search(r"^Documentation=man:([\w-]+)\((\d)\)$", unit.read_text(), re.MULTILINE)
    return f"{named[1]}.{named[2]}" if named else f"{unit.stem.rstrip('@')}.8"


def settings_of(unit: Path, manager: str, name: str) -> list[str]:
    """What one manager's drop-ins say of a unit."""
    files = sorted((ROOT / "units" / manager / f"{unit.name}.d").glob("*.conf"))
    text = "\n".join(path.read_text() for path in files)
    return re.findall(rf"^{name}=(\S+)$", text, re.MULTILINE)


def said(
    *command: str, text: str | None = None, status: int | None = 0, errors: bool = False
) -> str:
    """What a program says: what it gives, or what it complains of."""
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANROFFSEQ": ""},
    )
    assert done.returncode == status or status is None, done.stderr
    return done.stderr if errors else done.stdout
