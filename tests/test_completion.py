"""Completion in bash: the tables of packaging/completion/piker are those of the command line."""

import os
import re
import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from piker.cli import COMMANDS, OPTIONS
from piker.paths import fitting, socket_path
from tests.cli.command import call

COMPLETION = Path(__file__).resolve().parent.parent / "packaging" / "completion" / "piker"
BASH = shutil.which("bash") or "bash"
ASK = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_piker
printf '%s\\n' "${COMPREPLY[@]}"
"""

Capture = pytest.CaptureFixture[str]


def completed(*words: str) -> list[str]:
    """What the last word may become. There is no program that could be started to find it."""
    done = subprocess.run(
        [BASH, "--norc", "--noprofile", "-c", ASK, "bash", COMPLETION, "piker", *words],
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return sorted(done.stdout.split())


def options(command: str, capfd: Capture) -> dict[str, str]:
    """The options of a command as its help has them, with what stands for a value."""
    assert call(command, "--help") == 0
    text = capfd.readouterr().out.partition("\noptions:")[2].partition("\nExample:")[0]
    return dict(re.findall(r"^  (--[a-z-]+)(?: (\S+))?", text, re.MULTILINE))


@pytest.fixture
def listening(home: Path) -> None:
    """Sockets of two providers, and a file that is none."""
    for provider in ("replay", "sim"):
        path = socket_path("datad", provider)
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(socket.socket(socket.AF_UNIX)) as bound:
            bound.bind(fitting(path))
    socket_path("datad", "nosocket").touch()


def test_commands_are_those_there_are() -> None:
    assert completed("") == sorted(COMMANDS)
    assert completed("or") == ["order", "orders"]


def test_options_before_a_command_are_those_there_are() -> None:
    known = sorted([*(each for only in OPTIONS for each in only), "--help", "--version"])
    assert completed("--") == known
    assert completed("--system", "") == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_a_command_are_those_it_takes(command: str, capfd: Capture) -> None:
    assert completed(command, "--") == sorted(options(command, capfd))


@pytest.mark.parametrize("command", COMMANDS)
def test_after_an_option_comes_its_value_if_it_has_one(command: str, capfd: Capture) -> None:
    taking = {option for option, value in options(command, capfd).items() if value}
    for option in options(command, capfd):
        assert (completed(command, option, "--") == []) == (option in taking), option


@pytest.mark.parametrize("command", COMMANDS)
def test_values_are_those_an_option_takes(command: str, capfd: Capture) -> None:
    given = {k: v for k, v in options(command, capfd).items() if v.startswith("{")}
    for option, choices in given.items():
        assert completed(command, option, "") == sorted(choices.strip("{}").split(","))


def test_a_value_may_follow_an_equals_sign_which_is_a_word_to_bash() -> None:
    assert completed("buy", "--tif", "=", "g") == ["gtc"]
    assert completed("buy", "--tif", "=") == ["day", "gtc", "ioc"]


@pytest.mark.parametrize("command", COMMANDS)
def test_words_are_those_a_command_takes(command: str, capfd: Capture) -> None:
    call(command, "--help")
    usage = capfd.readouterr().out.partition("\n\n")[0]
    choices = re.findall(r"(?<!\S)\{([\w,-]+)\}", re.sub(r"\[-.*?\]", "", usage, flags=re.DOTALL))
    words = [completed(command, ""), completed(command, "x", "")]
    assert [each for each in choices if sorted(each.split(",")) not in words] == []


def test_periods_of_bars_are_those_there_are(capfd: Capture) -> None:
    call("bars", "--help")
    told = re.search(r"length of a bar: (\w+) or (\w+)", capfd.readouterr().out)
    assert told is not None
    assert completed("bars", "--period", "") == sorted(told.groups())


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(
    "line",
    ["up", "up replay", "brokercheck", "creds set", "search euro --provider", "creds --json set"],
)
def test_a_provider_is_one_that_is_listened_for(line: str) -> None:
    assert completed(*line.split(), "") == ["replay", "sim"]


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(
    "line", ["flatten", "limits", "accept", "ledger sync", "orders --account", "buy a 1 --account"]
)
def test_an_account_is_paper_of_one_that_is_listened_for(line: str) -> None:
    assert completed(*line.split(), "p") == ["paper", "paper.replay", "paper.sim"]


@pytest.mark.usefixtures("listening")
def test_the_systems_providers_are_not_the_users() -> None:
    assert completed("--system", "brokercheck", "") == [
        each.stem for each in sorted(Path("/run/piker/datad").glob("*.sock"))
    ]


@pytest.mark.parametrize(
    "line", ["creds list", "status", "brokercheck replay", "nonsense", "watch"]
)
def test_what_is_not_known_is_not_made_up(line: str) -> None:
    assert completed(*line.split(), "") == []


def test_bash_is_told_which_function_it_is() -> None:
    asked = f"source {COMPLETION}; complete -p piker"
    done = subprocess.run([BASH, "--norc", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "complete -F _piker piker\n"
