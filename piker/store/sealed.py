"""Credentials that only this machine can read: encrypted, and tried, by systemd-creds(1)."""

import subprocess
from pathlib import Path
from subprocess import DEVNULL, PIPE

ANSWER_S = 10


class NotSealed(Exception):
    """A secret can't be encrypted; the text says why, and never shows it."""


def seal(name: str, secret: str) -> bytes:
    """A secret encrypted with this machine's own key, to be loaded by this name alone.

    Raises NotSealed.
    """
    done = _run("encrypt", "--with-key=host", f"--name={name}", "-", given=secret.encode())
    if done.returncode or not done.stdout:
        raise NotSealed(f"{name}: systemd-creds can't encrypt it: {_said(done)}")
    return done.stdout


def why_not_loadable(path: Path) -> str:
    """Why the system manager can't load this file by its name, or nothing.

    What it holds goes nowhere.
    """
    try:
        done = _run("decrypt", f"--name={path.name}", str(path), out=DEVNULL)
    except NotSealed as error:
        return str(error)
    return f"it can't be decrypted here: {_said(done)}" if done.returncode else ""


def _run(*words: str, given: bytes = b"", out: int = PIPE) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end, what it is given on its standard input. Raises NotSealed."""
    command = ["systemd-creds", *words, "-"]
    try:
        return subprocess.run(command, input=given, stdout=out, stderr=PIPE, timeout=ANSWER_S)  # noqa: S603 no shell
    except FileNotFoundError as error:
        missing = "systemd-creds, expected in systemd from 250 on, is not installed"
        raise NotSealed(missing) from error
    except subprocess.TimeoutExpired:  # whose text may hold what was given
        raise NotSealed(f"systemd-creds gave no answer within {ANSWER_S} s") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """The last line of its complaint."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].rstrip(".") if lines else f"it ended with status {done.returncode}"
