"""What a manager is handed of a provider's credentials, and why not the rest."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from piker.brokerd import read_credentials
from piker.errors import Refused
from piker.handover import lay_out
from piker.interfaces.broker import CredentialRefused
from piker.store import credentials

AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
"""Root reads whatever its mode is."""


@pytest.fixture
def token() -> Path:
    """A token that is set."""
    credentials.prepare("sim")
    credentials.keep("sim", "token", b"a secret")
    return credentials.path_of("sim", "token")


def laid_out() -> dict[str, str]:
    """What the manager finds, by name."""
    return {each.name: each.read_text() for each in credentials.handed_over("sim").iterdir()}


def fault_when_given(monkeypatch: pytest.MonkeyPatch) -> CredentialRefused:
    """What brokerd says that is given what is laid out, as its unit does."""
    directory = credentials.handed_over("sim")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    (directory / "token").write_text("none")
    with pytest.raises(Refused) as no:
        read_credentials(("token",))
    assert isinstance(no.value.fault, CredentialRefused)
    return no.value.fault


def test_where_nothing_is_set_nothing_is_handed_over() -> None:
    assert lay_out("sim") == {}
    assert laid_out() == {}


def test_what_can_be_loaded_is_linked_and_not_copied(token: Path) -> None:
    assert lay_out("sim") == {}
    link = credentials.handed_over("sim") / "token"
    assert (link.readlink(), link.read_text()) == (token, "a secret")
    assert stat.S_IMODE(link.parent.stat().st_mode) == 0o700


def test_what_is_no_file_is_not_handed_over_and_brokerd_says_why(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.unlink()
    os.mkfifo(token)
    problem = f"expected a file, was prw-r--r--: {token}"
    assert lay_out("sim") == {"token": problem}
    assert list(laid_out()) == [credentials.PROBLEMS]
    reason = f"it can't be handed over: {problem}"
    assert fault_when_given(monkeypatch) == CredentialRefused(name="token", reason=reason)


def test_what_the_manager_would_refuse_for_its_length_is_not_handed_over(token: Path) -> None:
    os.truncate(token, 2**20 + 1)
    assert lay_out("sim") == {"token": f"expected at most 1048576 bytes, was 1048577: {token}"}


def test_a_directory_that_is_none_is_why_no_credential_is_handed_over(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.unlink()
    token.parent.rmdir()
    token.parent.write_text("no directory")
    lay_out("sim")
    reason = f"it can't be handed over: Not a directory: {token.parent}"
    assert fault_when_given(monkeypatch).reason == reason


def test_what_was_mended_or_removed_since_is_so_when_it_is_laid_out_anew(token: Path) -> None:
    token.rename(token.with_name("other"))
    token.mkdir()
    lay_out("sim")
    token.rmdir()
    token.with_name("other").rename(token)
    assert lay_out("sim") == {}
    assert laid_out() == {"token": "a secret"}


def test_a_file_of_the_name_of_the_problems_stays_as_it_is(token: Path) -> None:
    (token.parent / credentials.PROBLEMS).write_text("mine")
    token.unlink()
    token.mkdir()
    lay_out("sim")
    assert (token.parent / credentials.PROBLEMS).read_text() == "mine"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_what_this_user_may_not_read_is_told_by_the_command(home: Path, token: Path) -> None:
    for each in (home, home / "config", home / "run", *token.parents[:2]):
        each.chmod(0o777)
    token.chmod(0)
    command = [*AS_NOBODY, sys.executable, "-m", "piker.handover", "sim"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = f"sim: can't hand over token: Permission denied: {token}\n"
    assert (done.returncode, done.stderr) == (0, said)


@pytest.mark.skipif(not shutil.which("systemd-creds"), reason="systemd-creds is not installed")
def test_in_the_system_what_cannot_be_decrypted_here_is_not_handed_over(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIKER_MANAGER", "system")
    monkeypatch.setenv("PIKER_ROOT", str(home))
    monkeypatch.setenv("SYSTEMD_CREDENTIAL_SECRET", str(home / "secret"))
    (home / "etc").mkdir(exist_ok=True)
    credentials.prepare("sim")
    for name in ("token", "other"):
        credentials.keep("sim", name, credentials.content("token", "a secret"))
    credentials.keep("sim", "plain", b"a secret")
    problems = lay_out("sim")
    assert sorted(problems) == ["other", "plain"]
    assert problems["other"].startswith("it can't be decrypted here: Embedded credential name")
    assert sorted(laid_out()) == [credentials.PROBLEMS, "token"]
    assert "a secret" not in str(problems)


@pytest.mark.parametrize("arguments", [(), ("-x",), ("../sim",), ("..",), ("a b",), ("a", "b")])
def test_what_is_no_provider_is_a_mistake_in_usage(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "piker.handover", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "usage: python -m piker.handover PROVIDER\n"
