"""piker.toml: read, merged, decoded strictly.

Files, later ones over earlier ones, tables merged key by key: `/etc/piker/piker.toml`, its
drop-ins `/etc/piker/piker.toml.d/*.toml` in order of their names, then the same two below
`~/.config/piker/`. An unknown key or a wrong type names the file, the key and what was expected.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from piker import paths
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration

S = TypeVar("S", bound=Struct)

Seconds = Annotated[float, Meta(gt=0, description="seconds")]


class DatadSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[datad]: all market data daemons."""

    keep: Annotated[
        tuple[str, ...], Meta(description="markets to follow as long as their datad runs")
    ] = ()


class Configuration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of piker.toml."""

    idle_exit_s: Annotated[
        Seconds, Meta(description="a daemon nobody talks to ends after this")
    ] = 300.0
    datad: DatadSettings = DatadSettings()
    providers: Annotated[
        dict[str, dict[str, Any]], Meta(description="a table a provider, of its own keys")
    ] = field(default_factory=dict)


def files() -> list[Path]:
    """The files there are, in the order in which they are read."""
    etc = Path(os.environ.get("PIKER_ETC", "/etc/piker"))
    found: list[Path] = []
    for directory in (etc, paths.config_directory() / "piker"):
        found += [directory / "piker.toml", *sorted((directory / "piker.toml.d").glob("*.toml"))]
    return [path for path in found if path.is_file()]


def load() -> Configuration:
    """The configuration. Raises Refused(BrokenConfiguration)."""
    merged: dict[str, Any] = {}
    for path in files():
        table = _read(path)
        _decode(table, Configuration, path)
        _merge(merged, table)
    return msgspec.convert(merged, Configuration)


def provider_settings(configuration: Configuration, name: str, kind: type[S]) -> S:
    """What is set for one provider, decoded as it declares it.

    Raises Refused(BrokenConfiguration) that names the last file to set a wrong key.
    """
    try:
        return msgspec.convert(configuration.providers.get(name, {}), kind)
    except msgspec.ValidationError as error:
        _check_each(name, kind)
        raise Refused(_broken("piker.toml", str(error), f"providers.{name}")) from error


def _check_each(name: str, kind: type[Struct]) -> None:
    for path in reversed(files()):
        table = _read(path).get("providers", {}).get(name, {})
        _decode(table, kind, path, f"providers.{name}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        fault = BrokenConfiguration(file=str(path), key="", problem=str(error))
        raise Refused(fault) from error


def _decode(table: dict[str, Any], kind: type[S], path: Path, prefix: str = "") -> S:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise Refused(_broken(str(path), str(error), prefix)) from error


def _broken(file: str, message: str, prefix: str) -> BrokenConfiguration:
    """msgspec's message taken apart: "Expected `int`, got `str` - at `$.datad.keep`"."""
    problem, _, where = message.partition(" - at `$")
    named = re.search(r"unknown field `([^`]+)`", problem)
    parts = [prefix, where.strip("`."), named[1] if named else ""]
    return BrokenConfiguration(file=file, key=".".join(filter(None, parts)), problem=problem)


def _merge(into: dict[str, Any], table: dict[str, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
