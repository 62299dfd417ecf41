"""piker creds: secrets are asked for unseen, kept for brokerd alone, and never shown."""

import json
import os
import shutil
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from piker.errors import Refused
from piker.store import credentials
from tests.cli.command import PATIENCE_S, PIKER, Ended, call, piker, piker_unread
from tests.cli.terminal import Terminal, in_terminal
from tests.fakes.simvenue import TOKEN
from tests.torture.house import a_house, an_order, configure, submit, until_ready
from tests.torture.sim import SIM

SECRET = "hunter2-of-the-broker"
SET = ("creds", "set", "sim")
NO_ROOM = ("sh", "-c", 'ulimit -f 0; exec "$0" "$@"', *PIKER)
"""No file may grow; Python ignores the signal, so that a write fails with EFBIG."""
TWO = """
from piker.brokers import Provider

PROVIDER = Provider(name="two", doc="Two secrets.", endpoints={}, credentials=("key", "secret"))
"""


async def given(text: str | bytes, *arguments: str, command: Sequence[str] = PIKER) -> Ended:
    """`piker ARGUMENTS` with this as its standard input, to its end."""
    with trio.fail_after(PATIENCE_S):
        done = await trio.run_process(
            [*command, *arguments],
            stdin=text if isinstance(text, bytes) else text.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def echoes(terminal: Terminal) -> bool:
    """Whether it shows what is typed."""
    flags: int = termios.tcgetattr(terminal._screen.fileno())[3]
    return bool(flags & termios.ECHO)


def modes() -> list[str]:
    """Of the directories and of the token."""
    path = credentials.path_of("sim", "token")
    return [f"{each.stat().st_mode & 0o7777:o}" for each in (*path.parents[1::-1], path)]


def by_hand(text: str = "an older one") -> Path:
    """The token, as somebody who thinks of no modes leaves it."""
    path = credentials.path_of("sim", "token")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for each, mode in ((path.parents[1], 0o750), (path.parent, 0o755), (path, 0o644)):
        each.chmod(mode)
    return path


@pytest.fixture
def two(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider of somebody else's, with two credentials."""
    (home / "two.py").write_text(TWO)
    installed = home / "two-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Name: two\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[piker.brokers]\ntwo = two\n")
    monkeypatch.setenv("PYTHONPATH", str(home))


async def test_at_a_terminal_it_asks_without_echo_and_shows_the_secret_nowhere(home: Path) -> None:
    async with in_terminal(*SET) as terminal:
        await terminal.until("token of sim, not shown: ")
        assert not echoes(terminal)
        await terminal.type(f"{SECRET}\n")
        assert await terminal.ended() == 0
    path = home / "config" / "piker-credentials" / "sim" / "token"
    assert SECRET not in terminal.drawn
    assert f"set: {path}\r\n" in terminal.drawn
    assert path.read_text() == SECRET


async def test_it_says_what_was_done_that_it_is_not_encrypted_and_how_it_takes_effect() -> None:
    status, out, err = await given(f"{SECRET}\n", *SET)
    assert (status, err) == (0, "")
    done, encrypted, effect = out.splitlines()
    assert done == f"set: {credentials.path_of('sim', 'token')}"
    assert encrypted == "Not encrypted: a file of mode 0600, which only you and root can read."
    assert effect.startswith("No daemon sees it, brokerd@sim alone is handed it")
    assert effect.endswith("if it runs: systemctl --user restart brokerd@sim")


async def test_only_its_owner_can_enter_and_read_whatever_the_umask() -> None:
    open_to_all = ("sh", "-c", 'umask 0; exec "$0" "$@"', *PIKER)
    shutil.rmtree(os.environ["XDG_CONFIG_HOME"])
    assert (await given(SECRET, *SET, command=open_to_all)).status == 0
    assert modes() == ["700", "700", "600"]
    assert os.stat(os.environ["XDG_CONFIG_HOME"]).st_mode & 0o777 == 0o700


async def test_what_was_made_by_hand_and_open_to_others_is_mended_and_said() -> None:
    path = by_hand()
    status, out, _ = await given(SECRET, *SET)
    assert (status, modes()) == (0, ["700", "700", "600"])
    assert out.splitlines()[:3] == [
        f"mended: {path.parents[1]} was open to others (mode 0750), now it is not",
        f"mended: {path.parent} was open to others (mode 0755), now it is not",
        f"replaced: {path}; the one before was open to others (mode 0644)",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "was empty"),
        ("  \n", "was empty"),
        ("none\n", "was 'none', by which units say that there is none"),
        ("\tnone \r\n", "was 'none', by which units say that there is none"),
        (f"{SECRET}\0x\n", "had a NUL in it"),
        (f"{SECRET}\rx\n", "had a line break in it"),
        (f"{SECRET}\x1b[D\n", "had something in it that can't be printed"),
        ("x" * 4095, "was longer than 4094 bytes"),
        ("x" * 9000, "was longer than 4094 bytes"),
    ],
)
async def test_what_is_no_secret_is_refused_by_name_and_the_one_before_stays(
    text: str, problem: str
) -> None:
    path = by_hand()
    status, _, err = await given(text, *SET)
    assert (status, err) == (1, f"piker: token: expected a secret, {problem}\n")
    assert path.read_text() == "an older one"


async def test_more_lines_than_secrets_are_refused_and_none_is_shown() -> None:
    status, out, err = await given(f"{SECRET}\n{SECRET}\n", *SET)
    said = "token: expected one line on standard input, was 2; a secret has no line break"
    assert (status, out, err) == (1, "", f"piker: {said}\n")
    assert not credentials.path_of("sim", "token").exists()


async def test_what_is_no_text_is_refused_and_not_shown() -> None:
    ended = await given(b"hunter2\xff\n", *SET)
    assert ended == (1, "", "piker: token: expected text in UTF-8\n")


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ("\x04", 1, "piker: token: expected a secret, was given none\r\n"),
        ("\n", 1, "piker: token: expected a secret, was empty\r\n"),
        ("\x03", 130, "not shown: "),
    ],
)
async def test_at_a_terminal_nothing_is_no_secret_either(
    typed: str, status: int, said: str
) -> None:
    async with in_terminal(*SET) as terminal:
        await terminal.until("not shown: ")
        await terminal.type(typed)
        assert await terminal.ended() == status
    assert terminal.drawn.endswith(said)
    assert not credentials.path_of("sim", "token").exists()


async def test_a_terminal_that_cannot_hide_it_is_refused_rather_than_used_with_echo() -> None:
    pretend = (
        "import sys; sys.stdin.isatty = lambda: True; import piker.cli as c; sys.exit(c.main())"
    )
    command = ("setsid", "--wait", sys.executable, "-c", pretend)
    status, out, err = await given(f"{SECRET}\n", *SET, command=command)
    problem = "this terminal can't hide what is typed; give it on standard input"
    assert (status, out, err) == (1, "", f"piker: token: {problem}\n")


@pytest.mark.usefixtures("two")
async def test_each_that_a_provider_declares_is_asked_for_and_all_or_none_are_written() -> None:
    status, _, err = await given("a\nnone\n", "creds", "set", "two")
    assert (status, os.listdir(credentials.directory("two"))) == (1, [])
    assert err.startswith("piker: secret: expected a secret, was 'none'")
    assert (await given("a\nb\n", "creds", "set", "two")).status == 0
    assert (await given("c", "creds", "set", "two", "secret")).status == 0
    written = [credentials.path_of("two", name).read_text() for name in ("key", "secret")]
    assert written == ["a", "c"]


@pytest.mark.parametrize(
    ("line", "status", "problem"),
    [
        (
            "set nonsense",
            1,
            "No such provider is installed (provider: nonsense, known: ib, replay, sim)",
        ),
        ("set replay", 1, "replay needs no credential: it declares none"),
        ("set", 2, "expected a provider, such as sim"),
        ("list sim", 2, "list takes no provider"),
        ("set sim --json", 2, "--json goes with list"),
        ("show sim", 2, "invalid choice: 'show'"),
    ],
)
def test_what_it_can_not_do_is_named(
    line: str, status: int, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call("creds", *line.split()) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert problem in err.splitlines()[-1]


@pytest.mark.parametrize(
    "line", [f"token {SECRET}", f"--token={SECRET}", f"--token {SECRET}", SECRET]
)
def test_a_secret_that_was_given_as_an_argument_is_refused_and_not_shown(
    line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(*SET, *line.split()) in (1, 2)
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert "a secret is never one, it is asked for" in err


async def test_without_room_it_says_so_in_a_line_and_the_one_before_stays() -> None:
    path = by_hand()
    status, _, err = await given(SECRET, *SET, command=NO_ROOM)
    assert (status, err) == (1, f"piker: {path.parent}: File too large\n")
    assert (os.listdir(path.parent), path.read_text()) == (["token"], "an older one")


async def test_no_other_process_may_read_its_memory_and_no_crash_writes_it_to_disk() -> None:
    get_dumpable = 3  # prctl(2)
    then = f"print(ctypes.CDLL(None).prctl({get_dumpable}, 0, 0, 0, 0))"
    command = (sys.executable, "-c", f"import ctypes, piker.cli as c; c.main(); {then}")
    assert (await given(SECRET, *SET, command=command)).out.endswith("\n0\n")


@pytest.mark.parametrize("below", [".", "sim"])
def test_a_directory_that_is_a_link_or_no_directory_is_refused(
    below: str, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = credentials.directory() / below
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(home / "state")
    with pytest.raises(credentials.NotKept, match=f"{place}: expected a directory, was lrwx"):
        credentials.prepare("sim")
    assert call("creds", "list") == 1
    assert capfd.readouterr().err == f"piker: {place}: expected a directory, was lrwxrwxrwx\n"


def test_a_directory_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.prepare("sim")
    ours = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: ours + 1)
    with pytest.raises(credentials.NotKept, match=f"of user {ours + 1}, was of user {ours}"):
        credentials.prepare("sim")


async def test_where_nothing_can_be_made_it_says_so_in_a_line(home: Path) -> None:
    (home / "config").rmdir()
    (home / "config").write_text("no directory")
    status, out, err = await given(SECRET, *SET)
    assert (status, out, err) == (1, "", f"piker: {home}/config: File exists\n")


async def test_the_list_has_what_is_not_set_and_how_to_set_it() -> None:
    status, out, err = await piker("creds", "list")
    assert (status, err) == (0, "")
    assert out.splitlines()[0].split() == [
        "provider",
        "name",
        "set",
        "age",
        "mode",
        "encrypted",
        *("who", "can", "read", "it"),
    ]
    assert out.splitlines()[1].split(maxsplit=6) == [
        *("sim", "token", "-", "-", "-", "-"),
        "not set: piker creds set sim token",
    ]


async def test_the_list_has_age_and_mode_and_never_the_value() -> None:
    await given(SECRET, *SET)
    path = credentials.path_of("sim", "token")
    hours_ago_ns = path.stat().st_mtime_ns - 2 * 3600 * 10**9 - 10**9
    os.utime(path, ns=(hours_ago_ns, hours_ago_ns))
    status, out, err = await piker("creds", "list")
    assert (status, err) == (0, "")
    assert out.splitlines()[1].split()[-6:] == ["2", "h", "0600", "no", "only", "you"]
    told = json.loads((await piker("creds", "list", "--json")).out)
    assert told["since_ns"] == hours_ago_ns
    assert (told["only_you"], told["mode"], told["path"]) == (True, "0600", str(path))
    assert told["encrypted"] is False
    assert SECRET not in out + json.dumps(told)


async def test_the_list_warns_of_what_others_can_read_and_its_command_mends_it() -> None:
    path = by_hand()
    status, out, err = await piker("creds", "list")
    mend = f"chmod go= {path.parents[1]} {path.parent} {path}"
    assert (status, err) == (0, f"piker: {path}: others can get at it; to mend that: {mend}\n")
    assert out.splitlines()[1].split()[-4:] == ["0644", "no", "OTHERS,", "too"]
    await trio.run_process(mend.split())
    assert (await piker("creds", "list")).err == ""
    assert modes() == ["700", "700", "600"]


async def test_the_list_has_what_nobody_asks_for_and_what_is_no_file() -> None:
    credentials.prepare("gone")
    credentials.keep("gone", "key", SECRET.encode())
    credentials.path_of("gone", "link").symlink_to("/etc/passwd")
    status, out, err = await piker("creds", "list")
    assert (status, err) == (0, "")
    assert "only you; no provider asks for it" in out
    assert "?; expected a file, was lrwxrwxrwx" in out


# --- the system's


@pytest.fixture
def system(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's own directories and key, of the test's; gives where sim's credentials lie."""
    if os.getuid() != 0 or not shutil.which("systemd-creds"):
        pytest.skip("needs root, and systemd-creds")
    monkeypatch.setenv("PIKER_ROOT", str(home / "root"))
    monkeypatch.setenv("SYSTEMD_CREDENTIAL_SECRET", str(home / "machine.secret"))
    (home / "root" / "etc").mkdir(parents=True)
    return home / "root" / "etc" / "piker-credentials" / "sim"


async def test_in_the_system_it_is_encrypted_for_this_name_alone_and_roots(system: Path) -> None:
    status, out, err = await given(f"{SECRET}\n", "--system", *SET)
    assert (status, err) == (0, "")
    assert out.splitlines()[:2] == [
        f"set: {system}/token",
        "Encrypted with this machine's own key: a file of mode 0600, which only root can read.",
    ]
    assert out.endswith("if it runs: sudo systemctl restart brokerd@sim\n")
    modes = [each.stat().st_mode & 0o777 for each in (system.parent, system, system / "token")]
    assert modes == [0o700, 0o700, 0o600]
    assert SECRET not in (system / "token").read_text()
    decrypt = ["systemd-creds", "decrypt", "--name=token", str(system / "token"), "-"]
    assert (await trio.run_process(decrypt, capture_stdout=True)).stdout == SECRET.encode()


async def test_the_list_of_the_system_has_what_is_encrypted_and_what_cannot_be_loaded(
    system: Path,
) -> None:
    await given(SECRET, "--system", *SET)
    _, out, _ = await piker("--system", "creds", "list")
    assert out.splitlines()[1].split()[-4:] == ["0600", "yes", "only", "root"]
    shutil.copy(system / "token", system / "other")
    told = (await piker("--system", "creds", "list", "--json")).out.splitlines()
    other, token = (json.loads(line) for line in sorted(told))
    assert (token["encrypted"], token["problem"]) == (True, "")
    assert other["encrypted"] is None
    assert other["problem"].startswith("it can't be decrypted here: Embedded credential name 't")


@pytest.mark.parametrize("broken", ["missing", "failing"])
async def test_where_it_cannot_be_encrypted_nothing_is_written(
    broken: str, system: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = {
        "missing": "systemd-creds, expected in systemd from 250 on, is not installed",
        "failing": "token: systemd-creds can't encrypt it: Failed to determine local credential ",
    }
    monkeypatch.setenv(
        *{
            "missing": ("PATH", str(home)),
            "failing": ("SYSTEMD_CREDENTIAL_SECRET", str(home)),
        }[broken]
    )
    status, out, err = await given(SECRET, "--system", *SET)
    assert (status, out) == (1, "")
    assert err.startswith(f"piker: {problems[broken]}")
    assert (err.count("\n"), os.listdir(system)) == (1, [])


async def test_the_systems_credentials_are_roots_alone_to_set_and_to_list() -> None:
    nobody = ("setpriv", "--reuid=65534", "--clear-groups", *PIKER)
    for line in ("creds set sim", "creds list"):
        command = nobody if os.getuid() == 0 else PIKER
        status, out, err = await given(SECRET, "--system", *line.split(), command=command)
        said = f"the system's credentials are root's: sudo piker --system {line}"
        assert (status, out, err) == (1, "", f"piker: {said}\n")


async def test_who_reads_the_list_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    assert await piker_unread("creds", "list", "--json") == (1, "")


async def test_brokerd_under_pikerd_takes_the_token_that_was_set_so() -> None:
    configure()
    credentials.path_of("sim", "token").unlink()
    async with a_house() as house:
        status, out, _ = await given(f"{TOKEN}\n", *SET)
        assert status == 0
        assert out.endswith("brokerd@sim is handed it when it is next asked.\n")
        assert "any daemon of yours could read it" in out
        await submit(an_order(SIM.main))
        await until_ready(SIM.main)
        assert not [line for line in house.lines if TOKEN in line]


async def test_a_brokerd_that_runs_takes_another_after_the_command_that_is_shown() -> None:
    configure()
    await given("a-wrong-one", *SET)
    async with a_house() as house:
        with pytest.raises(Refused, match="the token is not known here"):
            await submit(an_order(SIM.main))
        pid = house.pid("brokerd@sim")
        out = (await given(TOKEN, *SET)).out
        assert out.endswith(
            f"brokerd@sim runs with what it had; to have it start anew: kill {pid}\n"
        )
        await trio.run_process(["kill", str(pid)])
        await until_ready(SIM.main)
