"""The message catalog: what `journalctl -x` says of each message id."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from piker import log
from piker.cli import COMMANDS
from tests.cli.command import call

ROOT = Path(__file__).resolve().parent.parent
CATALOG = ROOT / "packaging" / "piker.catalog"
IDS = {
    name: value
    for name, value in vars(log).items()
    if name.isupper() and isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value)
}
MODULES = sorted((ROOT / "piker").rglob("*.py"))
OF_A_PROVIDER = {"feeds.py"}
"""Modules that only a daemon of a provider has: all that it logs names the provider."""

Capture = pytest.CaptureFixture[str]


class Entry(NamedTuple):
    """One entry: its id, what stands before the empty line, and its text."""

    number: str
    header: dict[str, str]
    text: str

    @property
    def commands(self) -> list[str]:
        """Lines to copy."""
        return [line.strip() for line in self.text.splitlines() if line.startswith("    ")]


def read(chunk: str) -> Entry:
    """An entry as it stands in the file."""
    head, _, text = chunk.partition("\n\n")
    number, *header = head.splitlines()
    return Entry(number, dict(line.split(": ", 1) for line in header), text.rstrip())


ENTRIES = [read(each) for each in re.split(r"^-- ", CATALOG.read_text(), flags=re.MULTILINE)[1:]]
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.number)


def known_fields(number: str) -> set[str]:
    """The journal fields that every module gives which logs this id."""
    name = next(each for each, value in IDS.items() if value == number)
    logging = [path for path in MODULES if re.search(rf"\blog\.{name}\b", path.read_text())]
    given = [given_fields(path) for path in logging] or [{"oid", "market", "account"}]
    return {"SYSLOG_IDENTIFIER", *(f"PIKER_{each.upper()}" for each in set.intersection(*given))}


def given_fields(module: Path) -> set[str]:
    """What a module's entries are about."""
    calls = " ".join(re.findall(r"log\.fields\(([^)]*)\)", module.read_text()))
    named = set(re.findall(r"\b(oid|market|account)=", calls))
    return named | ({"provider"} if module.name in OF_A_PROVIDER else set())


def test_every_message_id_has_an_entry_and_there_is_no_other() -> None:
    assert sorted(entry.number for entry in ENTRIES) == sorted(IDS.values())


@each_entry
def test_an_entry_says_what_it_is_whose_and_where_to_read_on(entry: Entry) -> None:
    assert list(entry.header) == ["Subject", "Defined-By", "Documentation"]
    assert entry.header["Defined-By"] == "piker"
    pages = re.findall(r"man:([\w.-]+)\((\d)\)", entry.header["Documentation"])
    assert all((ROOT / "docs" / "man" / f"{name}.{part}.scd").is_file() for name, part in pages)
    assert len(pages) == entry.header["Documentation"].count("man:") > 0


@each_entry
def test_an_entry_says_what_happened_and_what_to_do(entry: Entry) -> None:
    before, colon, commands = entry.text.partition(":\n\n    ")
    happened, *_, to_do = before.split("\n\n")
    assert happened.endswith(".")
    assert to_do.strip()
    assert colon
    assert commands


@each_entry
def test_an_entry_names_only_fields_that_it_comes_with(entry: Entry) -> None:
    named = set(re.findall(r"@([A-Z_]+)@", entry.header["Subject"] + entry.text))
    assert named - known_fields(entry.number) == set()


@each_entry
def test_commands_of_an_entry_are_there_and_take_what_they_are_given(
    entry: Entry, capfd: Capture
) -> None:
    ours = [line.split() for line in entry.commands if line.startswith("piker ")]
    assert {words[1] for words in ours} <= set(COMMANDS)
    for words in ours:
        call(words[1], "--help")
        help_ = capfd.readouterr().out
        assert [each for each in words if each.startswith("--") and each not in help_] == []


@each_entry
def test_other_commands_are_those_of_systemd(entry: Entry) -> None:
    others = [line for line in entry.commands if not line.startswith("piker ")]
    allowed = r"systemctl --user (status|restart) \S+|journalctl --user --disk-usage|df -h"
    assert [line for line in others if not re.fullmatch(allowed, line)] == []


@pytest.fixture
def systemd() -> None:
    """What reads catalogs; without it, a line says what isn't run."""
    if shutil.which("journalctl") is None:
        required = os.environ.get("PIKER_REQUIRE_SYSTEM_TESTS") == "1"
        (pytest.fail if required else pytest.skip)("not run: journalctl, to read the catalog")


@pytest.mark.usefixtures("systemd")
def test_systemd_takes_every_entry_of_the_catalog(tmp_path: Path) -> None:
    installed = tmp_path / "usr" / "lib" / "systemd" / "catalog" / "piker.catalog"
    installed.parent.mkdir(parents=True)
    shutil.copy(CATALOG, installed)
    assert journalctl(tmp_path, "--update-catalog") == ("", "")
    listed, complaints = journalctl(tmp_path, "--list-catalog")
    assert complaints == ""
    assert sorted(listed.splitlines()) == sorted(
        f"{entry.number} piker: {entry.header['Subject']}" for entry in ENTRIES
    )


def journalctl(root: Path, verb: str) -> tuple[str, str]:
    """What it says, and what it complains of."""
    command = ["journalctl", f"--root={root}", verb]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr
