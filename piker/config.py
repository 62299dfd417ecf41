"""piker.toml: read, merged, decoded strictly.

Files, later ones over earlier ones, tables merged key by key: `/etc/piker/piker.toml`, its
drop-ins `/etc/piker/piker.toml.d/*.toml` in order of their names, then, for a user's daemons, the
same two below `~/.config/piker/`. An unknown key or a wrong value names the file, the key and what
was expected. Numbers that are prices or sizes are exactly what was written.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from datetime import time
from decimal import Decimal, InvalidOperation
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field, inspect, structs

from piker import paths
from piker.accounts import PAPER, Account, parse_account
from piker.core.fees import FeeSchedule
from piker.core.risk import DEFAULTS
from piker.core.tomllines import line_in, line_of
from piker.core.triggers import GAP_GRACE_NS, MAX_TICK_AGE_NS
from piker.core.windows import DAYS
from piker.errors import Fault, Refused
from piker.interfaces.orders import LimitsReply
from piker.interfaces.service import BrokenConfiguration

NS = 1_000_000_000
S = TypeVar("S", bound=Struct)

Seconds = Annotated[float, Meta(gt=0, description="seconds")]
Patience = Annotated[float, Meta(gt=0, le=86_400, description="seconds, at most a day")]
Ceiling = Decimal | bool | UnsetType
"""A limit; False: none; UNSET: what holds for more than this account or market."""
CountCeiling = int | bool | UnsetType

_COUNTS = ("open_orders", "orders_per_s")
_FQME = re.compile(r"[^\sA-Z.]+(\.[^\sA-Z.]+)+")
_HOUR_AND_MINUTE = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class DatadSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[datad]: all market data daemons."""

    keep: Annotated[
        tuple[str, ...], Meta(description="markets to follow as long as their datad runs")
    ] = ()
    record: Annotated[
        tuple[str, ...], Meta(description="markets of which every tick is kept on disk")
    ] = ()
    seconds_days: Annotated[
        int, Meta(ge=1, le=30, description="of bars of a second that are in shared memory")
    ] = DAYS[1]
    minutes_days: Annotated[
        int, Meta(ge=1, le=3660, description="of bars of a minute that are in shared memory")
    ] = DAYS[60]

    @property
    def days(self) -> dict[int, int]:
        """How many days of bars are in shared memory, by period, s."""
        return {1: self.seconds_days, 60: self.minutes_days}


class EmsdSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[emsd]: the life of orders."""

    default_account: Annotated[
        str, Meta(description="of orders that name none: paper, or a whole name; empty: none")
    ] = ""
    day_ends: Annotated[
        str, Meta(description="HH:MM in day_zone, when a day's loss counts from 0 again")
    ] = "17:00"
    day_zone: Annotated[str, Meta(description="time zone, as Europe/Zurich")] = "America/New_York"
    max_tick_age_s: Annotated[Patience, Meta(description="nothing fires on an older tick")] = (
        MAX_TICK_AGE_NS / NS
    )
    gap_grace_s: Annotated[
        Patience,
        Meta(description="what was crossed unwatched for less fires as if it had been watched"),
    ] = GAP_GRACE_NS / NS
    reconcile_every_s: Annotated[
        Patience, Meta(description="how often venues are asked what they hold")
    ] = 30.0
    answer_timeout_s: Annotated[
        Patience, Meta(description="an order that the venue is silent about is unknown after this")
    ] = 10.0
    not_after_s: Annotated[
        Patience, Meta(description="a broker daemon refuses what reaches it later than this")
    ] = 5.0

    @property
    def day_turns(self) -> time:
        """`day_ends` as a time of day."""
        return time.fromisoformat(self.day_ends)

    @property
    def zone(self) -> ZoneInfo:
        """`day_zone`, loaded. Raises Refused(BrokenConfiguration) if it isn't installed."""
        return _zone(self.day_zone, Path("piker.toml"))


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of risk. Each is a number above 0, or false for no limit."""

    order_size: Annotated[Ceiling, Meta(description="of one order, contracts or units")] = UNSET
    order_notional: Annotated[
        Ceiling, Meta(description="of one order: size, price, multiplier; the market's currency")
    ] = UNSET
    position: Annotated[
        Ceiling, Meta(description="size held, at most, with all open orders of a side")
    ] = UNSET
    position_notional: Annotated[Ceiling, Meta(description="the same, in the currency")] = UNSET
    open_orders: Annotated[CountCeiling, Meta(description="not closed, of the account")] = UNSET
    orders_per_s: Annotated[CountCeiling, Meta(description="of the account, in any second")] = UNSET
    daily_loss: Annotated[
        Ceiling, Meta(description="since the day turned, fees included, in the currency")
    ] = UNSET
    distance_pct: Annotated[
        Ceiling, Meta(description="a limit price beyond the newest quote, per cent")
    ] = UNSET


class RiskSettings(LimitSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[risk], and [accounts."NAME".risk]: limits, and other ones for single markets."""

    markets: Annotated[
        dict[str, LimitSettings], Meta(description="a table a market, by its whole name")
    ] = field(default_factory=dict)


class AccountSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[accounts."NAME"]: one account."""

    live: Annotated[bool, Meta(description="true: it may trade, and that is real money")] = False
    risk: RiskSettings = RiskSettings()


class PaperboiSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[paperboi]: all paper accounts."""

    fees: Annotated[
        dict[str, FeeSchedule],
        Meta(description="[paperboi.fees.PROVIDER], instead of the provider's own schedule"),
    ] = field(default_factory=dict)


class NotifySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[notify]: how a person is told."""

    command: Annotated[
        tuple[str, ...],
        Meta(description="run with a title and a text after these words; empty: notify-send"),
    ] = ()


class Configuration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of piker.toml."""

    idle_exit_s: Annotated[
        Seconds, Meta(description="a daemon nobody talks to ends after this")
    ] = 300.0
    datad: DatadSettings = DatadSettings()
    emsd: EmsdSettings = EmsdSettings()
    risk: RiskSettings = RiskSettings()
    accounts: Annotated[
        dict[str, AccountSettings],
        Meta(description="a table an account: PROVIDER.LABEL or paper.PROVIDER"),
    ] = field(default_factory=dict)
    paperboi: PaperboiSettings = PaperboiSettings()
    notify: NotifySettings = NotifySettings()
    providers: Annotated[
        dict[str, dict[str, Any]], Meta(description="a table a provider, of its own keys")
    ] = field(default_factory=dict)


def files() -> list[Path]:
    """The files there are, in the order in which they are read.

    Raises Refused(BrokenConfiguration) if it isn't clear whose daemons are meant.
    """
    found: list[Path] = []
    for directory in directories():
        found += [directory / "piker.toml", *sorted((directory / "piker.toml.d").glob("*.toml"))]
    return [path for path in found if path.is_file()]


def directories() -> tuple[Path, ...]:
    """Where they are, each once. Raises as `files`."""
    etc = Path(os.environ.get("PIKER_ETC", "/etc/piker"))
    try:
        return (etc,) if paths.manager() == "system" else (etc, paths.config_directory() / "piker")
    except paths.WrongManager as error:
        key, _, problem = str(error).partition(": ")
        fault = BrokenConfiguration(file="the environment", key=key, problem=problem)
        raise Refused(fault) from error


def load() -> Configuration:
    """The configuration. Raises Refused(BrokenConfiguration)."""
    merged: dict[str, Any] = {}
    for path in files():
        table = _read(path)
        _check_file(table, path)
        _merge(merged, table)
    configuration = msgspec.convert(merged, Configuration)
    _expect_no_live_default(configuration)
    return configuration


def limits_of(configuration: Configuration, account: str, market: str) -> LimitsReply:
    """What risk allows an account in a market, by their whole names."""
    return reduce(_over, _layers(configuration, account, market).values(), DEFAULTS)


def section_of(configuration: Configuration, limit: str, account: str, market: str) -> str:
    """The section of piker.toml from which a limit is; nothing: it is the default."""
    layers = _layers(configuration, account, market)
    setting = [name for name, layer in layers.items() if getattr(layer, limit) is not UNSET]
    return setting[-1] if setting else ""


def _layers(configuration: Configuration, account: str, market: str) -> dict[str, LimitSettings]:
    """What is set of limits, by section; what is set in a later one holds."""
    everybody = configuration.risk
    own = configuration.accounts.get(account, AccountSettings()).risk
    nothing = LimitSettings()
    return {
        "[risk]": everybody,
        f'[risk.markets."{market}"]': everybody.markets.get(market, nothing),
        f'[accounts."{account}".risk]': own,
        f'[accounts."{account}".risk.markets."{market}"]': own.markets.get(market, nothing),
    }


def file_of(*key: str) -> Path:
    """The last file that sets a key, which one does."""
    return next(path for path in reversed(files()) if _at(_read(path), *key) is not None)


def provider_settings(configuration: Configuration, name: str, kind: type[S]) -> S:
    """What is set for one provider, decoded as it declares it.

    Raises Refused(BrokenConfiguration) that names the last file to set a wrong key.
    """
    try:
        return msgspec.convert(configuration.providers.get(name, {}), kind)
    except msgspec.ValidationError as error:
        _check_each(name, kind)
        broken_ = _broken(Path("piker.toml"), str(error), kind, f"providers.{name}")
        raise Refused(broken_) from error


def _check_each(name: str, kind: type[Struct]) -> None:
    for path in reversed(files()):
        table = _at(_read(path), "providers", name) or {}
        _decode(table, kind, path, f"providers.{name}")


def _check_file(table: dict[str, Any], path: Path) -> None:
    """One by one what has a name of its own, since msgspec's paths leave such names out."""
    for name, account in _named(table, "accounts"):
        _check_account(name, account, path)
    _check_risk(table.get("risk", {}), path, "risk")
    for name, fees in _named(table, "paperboi", "fees"):
        _check_fees(fees, path, f"paperboi.fees.{name}")
    configuration = _decode(table, Configuration, path)
    _check_emsd(configuration.emsd, path)
    if configuration.notify.command[:1] == ("",):
        raise _wrong(path, "notify.command", "a program as the first word", "")


def _check_account(name: str, table: Any, path: Path) -> None:
    key = f'accounts."{name}"'
    account = _whole(name)
    if account is None:
        known = 'PROVIDER.LABEL or paper.PROVIDER in quotes, as [accounts."ib.main"]'
        raise _wrong(path, key, known, name)
    _check_risk(_at(table, "risk") or {}, path, f"{key}.risk", account)
    if _decode(table, AccountSettings, path, key).live and account.is_paper:
        raise _wrong(path, f"{key}.live", "false: no paper account is live", True)


def _check_risk(table: Any, path: Path, key: str, account: Account | None = None) -> None:
    for name, limits in _named(table, "markets"):
        below = f'{key}.markets."{name}"'
        provider = account.provider if account else name.rpartition(".")[2]
        if not _FQME.fullmatch(name) or not name.endswith(f".{provider}"):
            ending = f".{provider}" if account else ".PROVIDER"
            raise _wrong(path, below, f"a market's whole name in quotes, ending in {ending}", name)
        _check_limits(limits, path, below)
        _decode(limits, LimitSettings, path, below)
    _check_limits(table, path, key)
    _decode(table, RiskSettings, path, key)


def _check_limits(table: Any, path: Path, key: str) -> None:
    for name in LimitSettings.__struct_fields__:
        value = _at(table, name)
        whole = name in _COUNTS
        fits = _is_number(value, whole=whole) and value > 0
        if value is not None and value is not False and not fits:
            number = "a whole number" if whole else "a number"
            raise _wrong(path, f"{key}.{name}", f"{number} above 0, or false for no limit", value)


def _check_fees(table: Any, path: Path, key: str) -> None:
    for name in FeeSchedule.__struct_fields__:
        value = _at(table, name)
        if value is not None and not (_is_number(value) and value >= 0):
            raise _wrong(path, f"{key}.{name}", "a number of 0 or more", value)
    _decode(table, FeeSchedule, path, key)


def _check_emsd(settings: EmsdSettings, path: Path) -> None:
    default = settings.default_account
    if default not in ("", PAPER) and _whole(default) is None:
        known = "paper, paper.PROVIDER or PROVIDER.LABEL"
        raise _wrong(path, "emsd.default_account", known, default)
    if not _HOUR_AND_MINUTE.fullmatch(settings.day_ends):
        raise _wrong(path, "emsd.day_ends", "HH:MM, 00:00 to 23:59", settings.day_ends)
    if settings.day_zone != EmsdSettings().day_zone:  # so that only emsd needs one installed
        _zone(settings.day_zone, path)


def _zone(name: str, path: Path) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = "an installed time zone, as America/New_York"
        raise _wrong(path, "emsd.day_zone", known, name) from error


def _expect_no_live_default(configuration: Configuration) -> None:
    default = configuration.emsd.default_account
    if configuration.accounts.get(default, AccountSettings()).live:
        path = file_of("emsd", "default_account")
        expected = "an account that isn't called live"
        raise _wrong(path, "emsd.default_account", expected, default)


def _whole(name: str) -> Account | None:
    """The account of a whole name."""
    account = parse_account(name, "")
    return account if account and account.provider and str(account) == name else None


def _is_number(value: object, *, whole: bool = False) -> bool:
    if isinstance(value, Decimal) and not whole:
        return value.is_finite()
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(path: Path, key: str, expected: str, value: object) -> Refused:
    said = str(value).lower() if isinstance(value, bool | Decimal) else repr(value)
    return Refused(broken(path, key, f"expected {expected}, was {said}"))


def _over(limits: LimitsReply, layer: LimitSettings) -> LimitsReply:
    """Limits, those that are set in a layer as they are there."""
    values = {name: getattr(layer, name) for name in LimitSettings.__struct_fields__}
    given = {name: value for name, value in values.items() if value is not UNSET}
    return structs.replace(limits, **{name: value or None for name, value in given.items()})


def _at(table: Any, *keys: str) -> Any:
    """What stands at a key of nested tables; None: nothing."""
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _named(table: Any, *keys: str) -> Iterator[tuple[str, Any]]:
    """The entries of a table in tables, each of a name that a person gave it."""
    found = _at(table, *keys)
    yield from found.items() if isinstance(found, dict) else ()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(), parse_float=_number)
    except (ValueError, OSError) as error:  # no TOML, no text, or a number of too many digits
        raise Refused(broken(path, "", str(error))) from error


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"expected a number below 1E+999999, was {text}") from error


def _decode(table: dict[str, Any], kind: type[S], path: Path, prefix: str = "") -> S:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise Refused(_broken(path, str(error), kind, prefix)) from error


def broken(path: Path, key: str, problem: str) -> BrokenConfiguration:
    """The fault of a file, with the line where the key stands, or that the problem names."""
    text = path.read_text(errors="replace") if path.is_file() else ""
    line = line_of(text, key) if key else line_in(problem)
    return BrokenConfiguration(file=str(path), line=line or None, key=key, problem=problem)


def located(fault: Fault) -> Fault:
    """The same; with file and line, if it is of a configuration and who found it knew the key."""
    if not isinstance(fault, BrokenConfiguration) or fault.line is not None or not fault.key:
        return fault
    faults = [broken(path, fault.key, fault.problem) for path in reversed(files())]
    return next((each for each in faults if each.line is not None), fault)


def _broken(path: Path, message: str, kind: type[Struct], prefix: str) -> BrokenConfiguration:
    """msgspec's message taken apart: "Expected `int`, got `str` - at `$.datad.keep`"."""
    problem, _, where = message.partition(" - at `$")
    if problem.startswith("Invalid enum value "):
        names = [each for each in re.findall(r"[^.\[\]`]+", where) if not each.isdigit()]
        if allowed := ", ".join(_words(inspect.type_info(kind), names)):
            problem = f"expected one of {allowed}, was {problem.split(maxsplit=3)[3]}"
    named = re.search(r"unknown field `([^`]+)`", problem)
    parts = [prefix, where.strip("`."), named[1] if named else ""]
    return broken(path, ".".join(filter(None, parts)), problem)


def _words(kind: inspect.Type, names: Sequence[str]) -> Iterator[str]:
    """Those that may stand below these names: of a choice of words."""
    match kind:
        case (
            inspect.Metadata(type=inner)
            | inspect.DictType(value_type=inner)
            | inspect.VarTupleType(item_type=inner)
        ):
            yield from _words(inner, names)
        case inspect.UnionType(types=kinds):
            for either in kinds:
                yield from _words(either, names)
        case inspect.StructType(fields=fields) if names:
            for each in fields:
                if each.encode_name == names[0]:
                    yield from _words(each.type, names[1:])
        case inspect.LiteralType(values=values):
            yield from map(str, values)


def _merge(into: dict[str, Any], table: dict[str, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
