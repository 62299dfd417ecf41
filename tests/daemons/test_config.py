"""piker.toml: where it is read from, how files add up, what is said about a mistake."""

from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import pytest
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from piker import config
from piker.brokers import Settings
from piker.core.risk import DEFAULTS
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration

Data = Literal["live", "delayed"]


class Shown(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one market."""

    kind: Data = "live"


class Gateway(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider lets a person set."""

    port: Annotated[int, Meta(description="where it listens")] = 4001
    account: Annotated[str, Meta(description="whose it is")] = ""
    rate_hz: Annotated[float, Meta(description="how often it is asked")] = 1.0
    data: Annotated[Data | None, Meta(description="what is shown")] = None
    some: Annotated[tuple[Data, ...], Meta(description="what else is shown")] = ()
    of: Annotated[dict[str, Shown], Meta(description="of a market: other")] = field(
        default_factory=dict
    )


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


def test_the_systems_files_are_read_once_and_no_persons_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIKER_MANAGER", "system")
    system = write(home / "etc" / "piker.toml", "")
    write(home / "config" / "piker" / "piker.toml", "")
    assert config.files() == [system]


def test_a_manager_that_there_is_not_is_a_broken_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIKER_MANAGER", "root")
    with pytest.raises(Refused) as no:
        config.load()
    assert fault_of(no) == BrokenConfiguration(
        file="the environment", key="PIKER_MANAGER", problem="expected user or system, was 'root'"
    )


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
        ("[datad]\nseconds_days = 0", "datad.seconds_days", "Expected `int` >= 1"),
        ("[datad]\nseconds_days = 31", "datad.seconds_days", "Expected `int` <= 30"),
        ("[datad]\nminutes_days = 0", "datad.minutes_days", "Expected `int` >= 1"),
        ("[datad]\nminutes_days = 3661", "datad.minutes_days", "Expected `int` <= 3660"),
        ("idle_exit_s = 'long'", "idle_exit_s", "Expected `float`, got `str`"),
        ("idle_exit_s = 0", "idle_exit_s", "> 0"),
        ("providers = 1", "providers", "Expected `object`, got `int`"),
        ("idle_exit_s = ", "", "Invalid value"),
        ("idle_exit_s = 1e9999999999999999999", "", "was 1e9999999999999999999"),
        ("idle_exit_s = " + 5000 * "9", "", "5000 digits"),
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


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('data = "slow"', "data"),
        ('of."a.b".kind = "slow"', "of[...].kind"),
        ('some = ["live", "slow"]', "some[1]"),
    ],
)
def test_of_a_choice_of_words_those_are_told_that_may_stand_there(
    home: Path, text: str, key: str
) -> None:
    made = loaded(home, f"[providers.ib]\n{text}")
    with pytest.raises(Refused) as refused:
        config.provider_settings(made, "ib", Gateway)
    assert fault_of(refused).problem == "expected one of delayed, live, was 'slow'"
    assert fault_of(refused).key == f"providers.ib.{key}"


def loaded(home: Path, text: str) -> config.Configuration:
    write(home / "config" / "piker" / "piker.toml", text)
    return config.load()


def test_a_number_of_a_provider_is_read_as_it_declares_it(home: Path) -> None:
    settings = config.provider_settings(
        loaded(home, "[providers.ib]\nrate_hz = 0.1"), "ib", Gateway
    )
    assert (settings.rate_hz, type(settings.rate_hz)) == (0.1, float)


def test_what_emsd_goes_by_without_a_file() -> None:
    emsd = config.load().emsd
    assert (emsd.default_account, emsd.day_turns) == ("", time(17))
    assert emsd.zone == ZoneInfo("America/New_York")
    assert (emsd.max_tick_age_s, emsd.gap_grace_s, emsd.reconcile_every_s) == (5, 60, 30)
    assert (emsd.answer_timeout_s, emsd.not_after_s) == (10, 5)


def test_the_day_may_turn_elsewhere(home: Path) -> None:
    emsd = loaded(home, "[emsd]\nday_ends = '00:30'\nday_zone = 'Europe/Zurich'").emsd
    assert (emsd.day_turns, emsd.zone) == (time(0, 30), ZoneInfo("Europe/Zurich"))


def test_a_time_zone_that_is_not_installed_is_refused_where_it_is_needed() -> None:
    with pytest.raises(Refused, match=r"key: emsd.day_zone, .*, was 'America/Gotham'"):
        _ = config.EmsdSettings(day_zone="America/Gotham").zone


@pytest.mark.parametrize("account", ["paper", "paper.sim", "sim.main"])
def test_an_account_may_be_the_default(home: Path, account: str) -> None:
    assert loaded(home, f"[emsd]\ndefault_account = '{account}'").emsd.default_account == account


def test_an_account_that_is_called_live_may_not_be_the_default(home: Path) -> None:
    live = write(home / "etc" / "piker.toml", "[accounts.'ib.main']\nlive = true")
    bad = write(home / "config" / "piker" / "piker.toml", "[emsd]\ndefault_account = 'ib.main'")
    with pytest.raises(Refused) as refused:
        config.load()
    fault = fault_of(refused)
    assert (fault.file, fault.key) == (str(bad), "emsd.default_account")
    assert fault.problem == "expected an account that isn't called live, was 'ib.main'"
    assert live.exists()


def test_fees_are_exactly_what_was_written(home: Path) -> None:
    text = "[paperboi.fees.ib]\nper_unit = 0.0050\npct = 0.1000000000000000000001\nminimum = 1"
    fees = loaded(home, text).paperboi.fees["ib"]
    assert (str(fees.per_unit), str(fees.pct)) == ("0.0050", "0.1000000000000000000001")
    assert fees.minimum == 1


def test_a_person_is_told_by_a_command_of_their_own(home: Path) -> None:
    assert loaded(home, "[notify]\ncommand = ['mail', '-s']").notify.command == ("mail", "-s")


LIVE = "accounts.'ib.main'"
LAYERS = (
    "[risk]",
    "[risk.markets.'mnq.cme.ib']",
    f"[{LIVE}.risk]",
    f"[{LIVE}.risk.markets.'mnq.cme.ib']",
)


def test_without_files_risk_is_what_a_beginner_survives() -> None:
    assert config.limits_of(config.load(), "ib.main", "mnq.cme.ib") == DEFAULTS


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_what_is_said_of_less_holds_over_what_is_said_of_more(home: Path, count: int) -> None:
    layers = enumerate(LAYERS[:count], start=1)
    text = "\n".join(f"{layer}\norder_size = {number}.50" for number, layer in layers)
    limits = config.limits_of(loaded(home, text), "ib.main", "mnq.cme.ib")
    assert limits == replace(DEFAULTS, order_size=Decimal(f"{count}.50"))


def test_what_is_said_of_others_holds_for_nobody_else(home: Path) -> None:
    text = "\n".join(f"{layer}\norder_size = 1" for layer in LAYERS[1:])
    limits = config.limits_of(loaded(home, text), "paper.ib", "es.cme.ib")
    assert limits == DEFAULTS


def test_limits_of_all_kinds_are_merged_one_by_one(home: Path) -> None:
    text = f"[risk]\nopen_orders = 7\nposition = 2\n[{LIVE}.risk]\nposition = 3"
    limits = config.limits_of(loaded(home, text), "ib.main", "mnq.cme.ib")
    assert limits == replace(DEFAULTS, open_orders=7, position=Decimal(3))


@pytest.mark.parametrize("limit", config.LimitSettings.__struct_fields__)
def test_false_switches_a_limit_off_and_a_number_on_again(home: Path, limit: str) -> None:
    text = f"[risk]\n{limit} = false\n[{LIVE}.risk]\n{limit} = 9"
    configuration = loaded(home, text)
    off = config.limits_of(configuration, "paper.ib", "mnq.cme.ib")
    on = config.limits_of(configuration, "ib.main", "mnq.cme.ib")
    assert (getattr(off, limit), getattr(on, limit)) == (None, 9)


NUMBER = "expected a number above 0, or false for no limit, was "
WHOLE = "expected a whole number above 0, or false for no limit, was "
MARKET = "expected a market's whole name in quotes, ending in "
ACCOUNT = "expected PROVIDER.LABEL or paper.PROVIDER in quotes"


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("[risk]\norder_size = 0", "risk.order_size", NUMBER + "0"),
        ("[risk]\norder_size = -0.5", "risk.order_size", NUMBER + "-0.5"),
        ("[risk]\norder_size = nan", "risk.order_size", NUMBER + "nan"),
        ("[risk]\norder_size = inf", "risk.order_size", NUMBER + "inf"),
        ("[risk]\norder_size = true", "risk.order_size", NUMBER + "true"),
        ("[risk]\norder_size = 'none'", "risk.order_size", NUMBER + "'none'"),
        ("[risk]\norder_size = [1]", "risk.order_size", NUMBER + "[1]"),
        ("[risk]\nopen_orders = 1.5", "risk.open_orders", WHOLE + "1.5"),
        ("[risk]\norders_per_s = true", "risk.orders_per_s", WHOLE + "true"),
        ("[risk]\nodd = 1", "risk.odd", "unknown field"),
        ("risk = 1", "risk", "Expected `object`"),
        ("[risk]\nmarkets = 1", "risk.markets", "Expected `object`"),
        ("[risk.markets.'a.ib']\nodd = 1", 'risk.markets."a.ib".odd', "unknown field"),
        ("[risk.markets]\n'a.ib' = 1", 'risk.markets."a.ib"', "Expected `object`"),
        (
            "[risk.markets.'a.ib']\nposition = -1",
            'risk.markets."a.ib".position',
            NUMBER + "-1",
        ),
        ("[risk.markets.a.ib]\nposition = 1", 'risk.markets."a"', MARKET + ".PROVIDER, was 'a'"),
        ("[risk.markets.'A.ib']", 'risk.markets."A.ib"', MARKET + ".PROVIDER, was 'A.ib'"),
        ("[accounts.ib.main]\nlive = true", 'accounts."ib"', ACCOUNT),
        ("[accounts.paper]", 'accounts."paper"', ACCOUNT),
        ("[accounts.'paper.']", 'accounts."paper."', ACCOUNT),
        ("[accounts.'ib.paper']", 'accounts."ib.paper"', ACCOUNT),
        ("[accounts.'.main']", 'accounts.".main"', ACCOUNT),
        ("accounts = 1", "accounts", "Expected `object`"),
        ("[accounts]\n'ib.main' = 1", 'accounts."ib.main"', "Expected `object`"),
        ("[accounts.'ib.main']\nalive = 1", 'accounts."ib.main".alive', "unknown field"),
        ("[accounts.'ib.main']\nlive = 1", 'accounts."ib.main".live', "Expected `bool`"),
        ("[accounts.'ib.main']\nrisk = 1", 'accounts."ib.main".risk', "Expected `object`"),
        (
            "[accounts.'paper.ib']\nlive = true",
            'accounts."paper.ib".live',
            "expected false: no paper account is live, was true",
        ),
        (
            "[accounts.'ib.main'.risk]\nposition = nan",
            'accounts."ib.main".risk.position',
            NUMBER + "nan",
        ),
        (
            "[accounts.'ib.main'.risk.markets.'a.sim']\nposition = 1",
            'accounts."ib.main".risk.markets."a.sim"',
            MARKET + ".ib, was 'a.sim'",
        ),
        (
            "[accounts.'ib.main'.risk.markets.'a.ib']\nposition = 0",
            'accounts."ib.main".risk.markets."a.ib".position',
            NUMBER + "0",
        ),
        (
            "[emsd]\ndefault_account = 'ib'",
            "emsd.default_account",
            "expected paper, paper.PROVIDER or PROVIDER.LABEL, was 'ib'",
        ),
        (
            "[emsd]\nday_ends = '24:00'",
            "emsd.day_ends",
            "expected HH:MM, 00:00 to 23:59, was '24:00'",
        ),
        ("[emsd]\nday_ends = '5pm'", "emsd.day_ends", "was '5pm'"),
        ("[emsd]\nday_ends = 17:00:00", "emsd.day_ends", "Expected `str`"),
        (
            "[emsd]\nday_zone = 'America/Gotham'",
            "emsd.day_zone",
            "expected an installed time zone, as America/New_York, was 'America/Gotham'",
        ),
        ("[emsd]\nday_zone = '../zone'", "emsd.day_zone", "was '../zone'"),
        ("[emsd]\nnot_after_s = 0", "emsd.not_after_s", "> 0"),
        ("[emsd]\nanswer_timeout_s = inf", "emsd.answer_timeout_s", "<= 86400"),
        ("[emsd]\ngap_grace_s = nan", "emsd.gap_grace_s", "Expected `float`"),
        ("[emsd]\nreconcile_every_s = -1", "emsd.reconcile_every_s", "> 0"),
        (
            "[paperboi.fees.ib]\npct = -0.1",
            "paperboi.fees.ib.pct",
            "expected a number of 0 or more, was -0.1",
        ),
        ("[paperboi.fees.ib]\nminimum = nan", "paperboi.fees.ib.minimum", "was nan"),
        ("[paperboi.fees.ib]\nper_unit = '1'", "paperboi.fees.ib.per_unit", "was '1'"),
        ("[paperboi.fees.ib]\nper_lot = 1", "paperboi.fees.ib.per_lot", "unknown field"),
        ("[paperboi]\nfees = 1", "paperboi.fees", "Expected `object`"),
        ("[notify]\ncommand = 'mail'", "notify.command", "Expected `array`"),
        (
            "[notify]\ncommand = ['']",
            "notify.command",
            "expected a program as the first word, was ''",
        ),
    ],
)
def test_a_wrong_value_for_orders_is_named_with_its_file_key_and_what_was_expected(
    home: Path, text: str, key: str, problem: str
) -> None:
    bad = write(home / "etc" / "piker.toml", text)
    with pytest.raises(Refused) as refused:
        config.load()
    fault = fault_of(refused)
    assert (fault.file, fault.key) == (str(bad), key)
    assert problem in fault.problem
