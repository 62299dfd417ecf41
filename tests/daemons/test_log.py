"""Logging: the journal's own protocol with fields; without a journal, lines on stderr."""

import io
import logging
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker import log

names = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
A_MESSAGE_ID = re.compile("[0-9a-f]{32}")


def entry_of(datagram: bytes) -> dict[str, str]:
    """An entry as systemd.io, "Native Journal Protocol", has it: names, lengths, values."""
    fields = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        (length,) = struct.unpack("<Q", rest[:8])
        value, end, datagram = (
            rest[8 : 8 + length],
            rest[8 + length : 9 + length],
            rest[9 + length :],
        )
        assert end == b"\n"
        fields[name.decode()] = value.decode()
    return fields


@contextmanager
def a_journal(path: Path) -> Iterator[socket.socket]:
    """The socket of a journal in the test's hands."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        journal.setblocking(False)
        yield journal


def record(text: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("piker.test").makeRecord(
        "piker.test", logging.WARNING, "a.py", 7, text, (), None, "work", extra
    )


@given(st.dictionaries(names, st.text(st.characters(codec="utf-8")), max_size=6))
def test_an_entry_keeps_every_value_whatever_it_holds(entry: dict[str, str]) -> None:
    assert entry_of(log.encode_entry(entry)) == entry


def test_an_entry_goes_to_the_journal_with_its_fields(home: Path) -> None:
    path = home / "journal"
    about = log.fields(market="eurusd.spot.ib", message_id=log.MARKET_STALE)
    with a_journal(path) as journal, closing(log.JournalHandler(str(path), {"ALWAYS": "so"})) as to:
        to.emit(record("first line\nsecond line", **about))
        assert entry_of(journal.recv(100_000)) == {
            "MESSAGE": "first line\nsecond line",
            "PRIORITY": "4",
            "CODE_FILE": "a.py",
            "CODE_LINE": "7",
            "CODE_FUNC": "work",
            "ALWAYS": "so",
            "MESSAGE_ID": log.MARKET_STALE,
            "PIKER_MARKET": "eurusd.spot.ib",
        }


def test_an_entry_about_an_order_is_found_by_its_oid_and_account() -> None:
    about = log.fields(oid="0190", account="paper.ib", message_id=log.FILL)["fields"]
    assert about == {"PIKER_OID": "0190", "PIKER_ACCOUNT": "paper.ib", "MESSAGE_ID": log.FILL}


def test_every_message_id_is_of_128_bits_and_means_one_thing() -> None:
    ids = {name: value for name, value in vars(log).items() if A_MESSAGE_ID.fullmatch(str(value))}
    assert len(set(ids.values())) == len(ids) > 1


@pytest.mark.parametrize("text", ["x" * 1_000_000, "€" * 1_000_000])
def test_a_text_that_is_too_long_is_cut(home: Path, text: str) -> None:
    path = home / "journal"
    with a_journal(path) as journal, closing(log.JournalHandler(str(path), {})) as to:
        to.emit(record(text))
        message = entry_of(journal.recv(1_000_000))["MESSAGE"]
    assert log.MAX_MESSAGE - 4 < len(message.encode()) <= log.MAX_MESSAGE
    assert text.startswith(message)


def test_text_that_cannot_be_encoded_is_logged_all_the_same(home: Path) -> None:
    path = home / "journal"
    with a_journal(path) as journal, closing(log.JournalHandler(str(path), {})) as to:
        to.emit(record("a name \udcff of a file"))
        assert entry_of(journal.recv(100_000))["MESSAGE"] == "a name ? of a file"


def test_a_full_journal_is_not_waited_for_and_what_was_lost_is_counted(home: Path) -> None:
    path = home / "journal"
    with a_journal(path) as journal, closing(log.JournalHandler(str(path), {})) as to:
        for number in range(2000):
            to.emit(record(str(number)))
        kept = received(journal)
        to.emit(record("again"))
        (again,) = received(journal)
    assert [each["MESSAGE"] for each in kept] == [str(number) for number in range(len(kept))]
    assert again["MESSAGE"] == f"again ({2000 - len(kept)} entries before this were lost)"


def received(journal: socket.socket) -> list[dict[str, str]]:
    entries = []
    while True:
        try:
            entries.append(entry_of(journal.recv(100_000)))
        except BlockingIOError:
            return entries


def test_a_journal_that_is_away_is_not_waited_for(home: Path) -> None:
    with closing(log.JournalHandler(str(home / "nobody"), {})) as handler:
        handler.emit(record("into the void"))


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, given back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield root
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_without_a_journal_lines_go_to_stderr(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    log.set_up("datad", "replay")
    logging.getLogger("piker.test").warning("the %s is away", "venue", extra=log.fields(market="m"))
    assert stderr.getvalue().endswith(" datad WARNING the venue is away\n")


def test_a_line_names_the_order_that_it_is_about_once(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    log.set_up("paperboi", "replay")
    root_logger.info("acked", extra=log.fields(oid="o-1"))
    root_logger.info("o-2 is acked", extra=log.fields(oid="o-2"))
    first, second = stderr.getvalue().splitlines()
    assert first.endswith(" paperboi INFO acked [o-1]")
    assert second.endswith(" paperboi INFO o-2 is acked")


def test_where_systemd_connects_stderr_entries_go_to_the_journal(
    root_logger: logging.Logger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "journal"
    monkeypatch.setattr(log, "JOURNAL_SOCKET", str(path))
    with a_journal(path) as journal, open(os.devnull, "w") as stderr:
        stat = os.fstat(stderr.fileno())
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
        log.set_up("datad", "replay")
        logging.getLogger("piker.test").info("up")
        entry = entry_of(journal.recv(100_000))
    named = {name: entry[name] for name in ("MESSAGE", "SYSLOG_IDENTIFIER", "PIKER_PROVIDER")}
    assert named == {"MESSAGE": "up", "SYSLOG_IDENTIFIER": "datad", "PIKER_PROVIDER": "replay"}


def test_a_stderr_that_was_connected_elsewhere_since_is_no_journal(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    log.set_up("samplerd", None)
    logging.getLogger("piker.test").error("here")
    assert "samplerd ERROR here" in stderr.getvalue()
