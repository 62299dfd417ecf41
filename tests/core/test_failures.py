"""Why units failed, in words."""

import pytest

from piker.core.failures import DUMPED, EXITED, KILLED, why


@pytest.mark.parametrize(
    ("result", "code", "status", "words"),
    [
        ("success", EXITED, 0, ""),
        ("success", KILLED, 15, ""),
        ("", 0, 0, ""),
        ("exec-condition", EXITED, 1, ""),
        ("exit-code", EXITED, 1, "it ended with status 1"),
        ("exit-code", EXITED, 203, "exit status 203/EXEC: its program can't be run"),
        (
            "exit-code",
            EXITED,
            243,
            "exit status 243/CREDENTIALS: a credential can't be read or decrypted by the manager",
        ),
        ("signal", KILLED, 9, "it was killed by SIGKILL"),
        ("signal", KILLED, 40, "it was killed by signal 40"),
        ("core-dump", DUMPED, 11, "it crashed with SIGSEGV"),
        ("oom-kill", KILLED, 9, "it was killed, since memory had run out"),
        ("timeout", 0, 0, "it did not start or stop in time"),
        ("exit-code", 0, 0, "exit-code"),
        ("something-new", 0, 0, "something-new"),
    ],
)
def test_why_a_unit_failed_is_told_in_words(
    result: str, code: int, status: int, words: str
) -> None:
    assert why(result, code, status) == words


def test_what_a_unit_said_last_is_told_too() -> None:
    assert why("exit-code", EXITED, 1, "sim: connected") == (
        "it ended with status 1; it said: sim: connected"
    )
    assert why("success", EXITED, 0, "sim: connected") == ""
