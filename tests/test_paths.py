"""Where things are."""

import os
from pathlib import Path

import pytest

from piker import paths


def test_directories_come_from_the_environment_when_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "PIKER_UNITS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert paths.runtime_directory() == tmp_path / "XDG_RUNTIME_DIR"
    assert paths.config_directory() == tmp_path / "XDG_CONFIG_HOME"
    assert paths.state_directory() == tmp_path / "XDG_STATE_HOME"
    assert paths.units_directory() == tmp_path / "PIKER_UNITS"


@pytest.mark.parametrize("value", ["", "relative"])
def test_a_path_that_is_not_absolute_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "PIKER_UNITS"):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.config_directory() == tmp_path / ".config"
    assert paths.state_directory() == tmp_path / ".local/state"
    assert (paths.units_directory() / "piker.target").is_file()


def test_a_daemon_listens_at_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert str(paths.socket_path("datad", "replay")) == "/run/user/7/piker/datad/replay.sock"
    assert str(paths.socket_path("samplerd")) == "/run/user/7/piker/samplerd/samplerd.sock"


def test_a_daemon_with_doors_listens_at_each_and_is_one_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert str(paths.socket_path("emsd", "trade")) == "/run/user/7/piker/emsd/trade.sock"
    assert paths.socket_path("emsd") == paths.socket_path("emsd", "view")
    units = [paths.unit_name("emsd", door) for door in (None, "view", "trade")]
    assert units == ["emsd", "emsd", "emsd"]
    assert paths.unit_name("datad", "view") == "datad@view"


def test_a_daemons_state_is_where_its_manager_says_or_below_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert paths.state_of("emsd") == tmp_path / "piker-emsd"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/piker-emsd")
    assert paths.state_of("emsd") == Path("/var/lib/piker-emsd")


def test_state_that_systemd_252_made_is_found_until_there_is_a_newer_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "piker-emsd").mkdir(parents=True)
    assert paths.state_of("emsd") == tmp_path / "config" / "piker-emsd"
    (tmp_path / "state" / "piker-emsd").mkdir(parents=True)
    assert paths.state_of("emsd") == tmp_path / "state" / "piker-emsd"


def test_the_systems_directories_are_the_machines_whatever_the_user_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIKER_MANAGER", "system")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    where = (paths.runtime_directory(), paths.config_directory(), paths.state_directory())
    assert where == (Path("/run"), Path("/etc"), Path("/var/lib"))
    assert paths.socket_path("emsd", "trade") == Path("/run/piker/emsd/trade.sock")
    assert paths.state_of("emsd") == Path("/var/lib/piker/emsd")
    monkeypatch.setenv("PIKER_ROOT", str(tmp_path))
    assert paths.state_of("emsd") == tmp_path / "var/lib/piker/emsd"


def test_a_socket_of_the_other_manager_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setenv("PIKER_MANAGER", "user")
    system = paths.socket_path("datad", "sim", of=paths.other_manager())
    assert system == Path("/run/piker/datad/sim.sock")
    monkeypatch.setenv("PIKER_MANAGER", "system")
    user = paths.socket_path("datad", "sim", of=paths.other_manager())
    assert user == Path("/run/user/7/piker/datad/sim.sock")


def test_a_manager_that_there_is_not_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIKER_MANAGER", "System")
    with pytest.raises(paths.WrongManager, match="expected user or system, was 'System'"):
        paths.socket_path("emsd")


def test_who_starts_the_systems_units_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.systemctl() == "systemctl --user"
    monkeypatch.setenv("PIKER_MANAGER", "system")
    assert paths.systemctl() == "sudo systemctl"


def test_a_path_that_is_too_long_for_a_socket_is_refused_with_its_length() -> None:
    assert paths.fitting(Path("/" + "x" * 106)) == "/" + "x" * 106
    with pytest.raises(OSError, match=r"socket path is 108 bytes, expected at most 107: /é"):
        paths.fitting(Path("/é" + "x" * 105))


def test_a_private_directory_is_made_once_and_found_again(tmp_path: Path) -> None:
    made = paths._private_directory(tmp_path / "mine")
    assert paths._private_directory(tmp_path / "mine") == made
    assert made.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(PermissionError, match=r"nobody else, was drwxr-xr-x of user"):
        paths._private_directory(tmp_path)


def test_a_link_in_place_of_a_private_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    os.symlink(tmp_path / "mine", tmp_path / "link")
    with pytest.raises(PermissionError, match=f"{tmp_path}/link"):
        paths._private_directory(tmp_path / "link")
