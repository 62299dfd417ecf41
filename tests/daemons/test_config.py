"""piker.toml: where it is read from, how files add up, what is said about a mistake."""

from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta

from piker import config
from piker.brokers import Settings
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration


class Gateway(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider lets a person set."""

    port: Annotated[int, Meta(description="where it listens")] = 4001
    account: Annotated[str, Meta(description="whose it is")] = ""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def fault_of(error: pytest.ExceptionInfo[Refused]) -> BrokenConfiguration:
    assert isinstance(error.value.fault, BrokenConfiguration)
    return error.value.fault


def test_without_files_everything_has_a_default() -> None:
    assert config.files() == []
    assert config.load() == config.Configuration()


def test_files_are_read_in_order_the_persons_own_last(home: Path) -> None:
    paths = [
        write(home / "etc" / "piker.toml", ""),
        write(home / "etc" / "piker.toml.d" / "10-a.toml", ""),
        write(home / "etc" / "piker.toml.d" / "20-b.toml", ""),
        write(home / "config" / "piker" / "piker.toml", ""),
        write(home / "config" / "piker" / "piker.toml.d" / "10-c.toml", ""),
    ]
    write(home / "etc" / "piker.toml.d" / "notes.txt", "not read")
    assert config.files() == paths


def test_later_files_change_single_keys(home: Path) -> None:
    write(home / "etc" / "piker.toml", "idle_exit_s = 10\n[providers.ib]\nport = 1\naccount = 'a'")
    write(home / "etc" / "piker.toml.d" / "10-x.toml", "[providers.ib]\nport = 2")
    write(home / "config" / "piker" / "piker.toml", "[datad]\nkeep = ['eurusd.spot.replay']")
    loaded = config.load()
    assert (loaded.idle_exit_s, loaded.datad.keep) == (10, ("eurusd.spot.replay",))
    assert config.provider_settings(loaded, "ib", Gateway) == Gateway(port=2, account="a")


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("nonsense = 1", "nonsense", "unknown field"),
        ("[datad]\nkeeps = []", "datad.keeps", "unknown field"),
        ("[datad]\nkeep = 'eurusd'", "datad.keep", "Expected `array`, got `str`"),
        ("[datad]\nkeep = ['a', 1]", "datad.keep[1]", "Expected `str`, got `int`"),
        ("idle_exit_s = 'long'", "idle_exit_s", "Expected `float`, got `str`"),
        ("idle_exit_s = 0", "idle_exit_s", "> 0"),
        ("providers = 1", "providers", "Expected `object`, got `int`"),
        ("idle_exit_s = ", "", "Invalid value"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(
    home: Path, text: str, key: str, problem: str
) -> None:
    good = write(home / "etc" / "piker.toml", "idle_exit_s = 1")
    bad = write(home / "config" / "piker" / "piker.toml", text)
    with pytest.raises(Refused) as refused:
        config.load()
    fault = fault_of(refused)
    assert (fault.file, fault.key) == (str(bad), key)
    assert problem in fault.problem
    assert good.exists()


def test_a_file_that_is_no_text_is_named(home: Path) -> None:
    path = home / "etc" / "piker.toml"
    path.write_bytes(b"idle_exit_s = '\xff'")
    with pytest.raises(Refused) as refused:
        config.load()
    assert fault_of(refused).file == str(path)


@pytest.mark.parametrize(
    ("text", "key"),
    [("ports = 1", "providers.ib.ports"), ("port = 'x'", "providers.ib.port")],
)
def test_a_mistake_in_a_providers_table_is_named_with_its_file_and_key(
    home: Path, text: str, key: str
) -> None:
    write(home / "config" / "piker" / "piker.toml", "[providers.ib]\nport = 5")
    bad = write(home / "config" / "piker" / "piker.toml.d" / "x.toml", f"[providers.ib]\n{text}")
    loaded = config.load()
    with pytest.raises(Refused) as refused:
        config.provider_settings(loaded, "ib", Gateway)
    assert (fault_of(refused).file, fault_of(refused).key) == (str(bad), key)
