"""The piker.toml that the package brings names every key, with its default, and sets none."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from piker import brokers, config
from piker.cli import config as config_command
from piker.config import Configuration, LimitSettings
from piker.core.fees import FeeSchedule
from piker.core.risk import DEFAULTS

SHIPPED = Path(__file__).parents[1] / "packaging" / "piker.toml"
SETTING = re.compile(r"^#(?=\[|[a-z_]+ = )", re.MULTILINE)
EXAMPLES = {"restart", "start", "venue"}
"""Keys without a default: what stands there shows the form."""


def uncommented() -> str:
    """The file with every setting in force."""
    return SETTING.sub("", SHIPPED.read_text())


def keys(kind: type[Struct]) -> set[str]:
    """The keys of a section."""
    return set(kind.__struct_fields__)


def sections() -> Iterator[tuple[str, Any, set[str]]]:
    """Each section: its name, what stands in it, and the keys that there are."""
    table = tomllib.loads(uncommented())
    sections_of = {name: getattr(Configuration(), name) for name in ("datad", "emsd", "notify")}
    for name, settings in sections_of.items():
        yield name, table[name], keys(type(settings))
    yield "risk", table["risk"], keys(config.RiskSettings)
    yield "accounts", table["accounts"]["sim.main"], keys(config.AccountSettings)
    yield "fees", table["paperboi"]["fees"]["replay"], keys(FeeSchedule)
    for name in brokers.known():
        yield name, table["providers"][name], keys(brokers.load(name).settings)
    yield "the whole", table, keys(Configuration)


def test_it_names_every_key_of_every_section_and_no_other() -> None:
    assert {name: set(table) for name, table, _ in sections()} == {
        name: expected for name, _, expected in sections()
    }


def test_it_sets_nothing() -> None:
    assert config._read(SHIPPED) == {"datad": {}, "emsd": {}, "risk": {}, "notify": {}}


def test_what_stands_after_each_is_its_default() -> None:
    table = tomllib.loads(uncommented())
    stated = msgspec.convert(table, Configuration)
    bare = Configuration()
    assert (stated.idle_exit_s, stated.datad, stated.emsd) == (
        bare.idle_exit_s,
        bare.datad,
        bare.emsd,
    )
    assert stated.notify == bare.notify
    assert not stated.accounts["sim.main"].live
    assert stated.paperboi.fees["replay"] == FeeSchedule()
    limits = {name: table["risk"][name] or None for name in keys(LimitSettings)}
    assert limits == {name: getattr(DEFAULTS, name) for name in limits}


@pytest.mark.parametrize("provider", brokers.known())
def test_what_stands_after_each_key_of_a_provider_is_its_default(provider: str) -> None:
    kind = brokers.load(provider).settings
    stated = tomllib.loads(uncommented())["providers"][provider]
    known = {name: value for name, value in stated.items() if name not in EXAMPLES}
    assert msgspec.convert(known, kind) == kind()


def test_with_every_setting_in_force_it_is_right(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "etc" / "piker.toml").write_text(uncommented())
    assert config_command.main(["check"]) == 0
    assert "config: ok" in capsys.readouterr().out
