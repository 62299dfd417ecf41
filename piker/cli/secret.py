"""A secret, as its owner gives it: unseen, and such that a brokerd takes it."""

import getpass
import sys
import warnings

from piker.brokerd import UNSET

MOST_BYTES = 4094
"""A terminal cuts a longer line at 4095, without a word: termios(3), canonical mode."""


class NoSecret(Exception):
    """What was given is no secret that can be kept; the text says why, and never shows it."""


def given(provider: str, names: tuple[str, ...]) -> list[str]:
    """A secret for each name: asked for at the terminal, else from standard input, a line each.

    Raises NoSecret.
    """
    if sys.stdin.isatty():
        return [_checked(name, _asked(provider, name)) for name in names]
    return [_checked(name, line) for name, line in zip(names, _read(names), strict=True)]


def _asked(provider: str, name: str) -> str:
    """What is typed at the terminal, without echo. Raises NoSecret."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # else it goes on, with echo
        try:
            return getpass.getpass(f"{name} of {provider}, not shown: ")
        except EOFError:
            raise NoSecret(f"{name}: expected a secret, was given none") from None
        except UnicodeDecodeError:  # whose text holds what was read
            raise NoSecret(f"{name}: expected text in UTF-8") from None
        except getpass.GetPassWarning:
            problem = "this terminal can't hide what is typed; give it on standard input"
            raise NoSecret(f"{name}: {problem}") from None


def _read(names: tuple[str, ...]) -> list[str]:
    """The lines of standard input, to its end. Raises NoSecret."""
    wanted = ", ".join(names)
    try:
        text = sys.stdin.buffer.read(len(names) * (MOST_BYTES + 2)).decode()
    except UnicodeDecodeError:  # whose text holds what was read
        raise NoSecret(f"{wanted}: expected text in UTF-8") from None
    given = text.removesuffix("\n").split("\n")
    if len(given) != len(names):
        expected = "one line" if len(names) == 1 else f"{len(names)} lines"
        problem = f"expected {expected} on standard input, was {len(given)}"
        raise NoSecret(f"{wanted}: {problem}; a secret has no line break")
    return given


def _checked(name: str, line: str) -> str:
    """A secret without the spaces around it, which brokerd leaves away. Raises NoSecret."""
    secret = line.strip()
    problem = _why_none(secret)
    if problem:
        raise NoSecret(f"{name}: expected a secret, {problem}")
    return secret


def _why_none(secret: str) -> str:
    if not secret:
        return "was empty"
    if secret in UNSET:
        return f"was {secret!r}, by which units say that there is none"
    if "\0" in secret:
        return "had a NUL in it"
    if len(secret.splitlines()) > 1:
        return "had a line break in it"
    if not secret.isprintable():
        return "had something in it that can't be printed"
    if len(secret.encode()) > MOST_BYTES:
        return f"was longer than {MOST_BYTES} bytes"
    return ""
