"""What an audit of recorded ticks finds, and that nothing is lost by it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from piker.core.bars import NS
from piker.core.tickcolumns import TickColumns
from piker.coverage import Finding, Span
from piker.store import parquet, tickfiles
from piker.store.tickaudit import TickAudit
from piker.store.tickfiles import About, TickFiles
from tests.store.ticks import DAY, MARKET, NOON_NS, columns, plain, said, written

NOW = NOON_NS + 10**12


@pytest.fixture
def files(tmp_path: Path) -> Iterator[TickFiles]:
    files = TickFiles(tmp_path)
    yield files
    files.unlock()


def audited(files: TickFiles, *, repair: bool = False) -> list[Finding]:
    look = TickAudit(files, MARKET.fqme, NOW, repair=repair)
    return [each for path in look.paths() for each in look.look(path)]


def wrong(files: TickFiles, *, repair: bool = False) -> list[Finding]:
    return [each for each in audited(files, repair=repair) if not each.harmless]


def play(files: TickFiles) -> list[str]:
    """What can be compared of all that is played."""
    return plain(tickfiles.read(files.place(MARKET.fqme)).ticks)


def test_what_was_recorded_is_as_it_should_be(files: TickFiles) -> None:
    written(files, 0, 1)
    written(files, 2)
    written(files, 3, day="2027-01-16")
    files.join(MARKET.fqme, "2027-01-16", NOW)
    written(files, 4, day="2027-01-16")
    assert audited(files) == []
    assert files.markets() == [MARKET.fqme]


def test_a_segment_that_cannot_be_read_is_named_and_set_aside_and_the_others_are_played(
    files: TickFiles,
) -> None:
    written(files, 0)
    bad = written(files, 1)
    written(files, 2)
    content = bad.read_bytes()[:-20]
    bad.write_bytes(content)
    (found,) = audited(files)
    assert (found.path, found.market, found.done) == (str(bad), MARKET.fqme, "")
    assert found.text.startswith("it can't be read: ")
    (mended,) = audited(files, repair=True)
    assert mended.done == f"set aside as _000002.parquet.damaged-{NOW}"
    (left,) = audited(files, repair=True)
    assert left.harmless
    assert Path(left.path).read_bytes() == content
    assert play(files) == plain(columns(0, 2))


def test_a_bit_that_flipped_in_a_day_is_found(files: TickFiles) -> None:
    written(files, 0, 1)
    files.join(MARKET.fqme, "2027-01-16", NOW)
    day = files.place(MARKET.fqme) / f"{DAY}.parquet"
    content = bytearray(day.read_bytes())
    content[40] ^= 1
    day.write_bytes(content)
    (found,) = wrong(files, repair=True)
    assert found.text == "it can't be read: its content hasn't the checksum that it should"
    assert day.with_name(f"_{day.name}.damaged-{NOW}").read_bytes() == content


def of(**column: float) -> TickColumns:
    """Two messages, with another value in the last row of a column."""
    ticks = columns(4, 5)
    for name, value in column.items():
        getattr(ticks, name)[5 if name != "prices" else 4] = value
    return ticks


BAD: dict[str, tuple[TickColumns, About]] = {
    "it is of x.y.fake, expected brk/b.nyse.fake": (
        columns(4),
        structs.replace(said(4), market=structs.replace(MARKET, fqme="x.y.fake")),
    ),
    "message: expected from 5 to 5, was 3": (of(messages=3), said(4, 5)),
    "message: expected from 5 to 5, was 9": (of(messages=9), said(4, 5)),
    "expected time from 1970 to 2116, was -1": (of(times=-1), said(4, 5)),
    "expected seen from 1970 to 2116, was -1": (of(seen=-1), said(4, 5)),
    "expected a finite price, was inf": (of(prices=float("inf")), said(4, 5)),
    "covered from 1970-01-01T00:00:05Z: it ends before it begins": (
        columns(4, 5),
        structs.replace(said(4, 5), spans=(Span(from_ns=5 * NS, to_ns=5 * NS, how="live"),)),
    ),
}


@pytest.mark.parametrize("text", BAD)
def test_a_file_that_cannot_be_played_is_found_and_set_aside(files: TickFiles, text: str) -> None:
    written(files, 0)
    ticks, about = BAD[text]
    path = files.place(MARKET.fqme) / DAY / "000002.parquet"
    parquet.write(tickfiles._frame(ticks), path, tickfiles._words(about))
    (found,) = wrong(files)
    assert found.text.endswith(text)
    assert [each.done[:9] for each in wrong(files, repair=True)] == ["set aside"]
    assert wrong(files) == []
    assert play(files) == plain(columns(0))


def test_what_a_crash_left_is_removed_and_what_is_being_written_is_not(
    files: TickFiles, tmp_path: Path
) -> None:
    path = written(files, 0)
    left = parquet.unfinished(path)
    left.write_bytes(b"half")
    other = TickFiles(tmp_path)
    assert wrong(other, repair=True) == []
    assert [each.done for each in wrong(files)] == [""]
    assert [each.done for each in wrong(files, repair=True)] == ["removed"]
    assert not left.exists()


def test_a_bad_file_stays_where_another_datad_records(files: TickFiles, tmp_path: Path) -> None:
    bad = written(files, 0)
    bad.write_bytes(b"no more")
    (found,) = wrong(TickFiles(tmp_path), repair=True)
    assert (found.done, bad.exists()) == ("", True)
    assert "; another datad records to " in found.text


def test_who_only_repairs_lets_another_record_afterwards(files: TickFiles, tmp_path: Path) -> None:
    written(files, 0).write_bytes(b"no more")
    files.unlock()
    assert wrong(files, repair=True)[0].done
    written(other := TickFiles(tmp_path), 1)
    other.unlock()


def test_what_is_odd_but_is_played_is_told_and_left(files: TickFiles) -> None:
    written(files, 0, 1)
    written(files, 1, 2)
    written(files, 3, day="2027-02-15")
    (files.place(MARKET.fqme) / "mine").mkdir()
    found = audited(files, repair=True)
    assert [(Path(each.path).name, each.text) for each in found] == [
        (
            "000002.parquet",
            "messages have numbers of others before it, first 1: it is played after those",
        ),
        ("000001.parquet", "ticks were seen at 2027-01-15T12:00:00.000000010Z, not on 2027-02-15"),
        ("mine", "it is not piker's: it is left alone"),
    ]
    assert all(each.harmless and not each.done for each in found)


def test_a_market_is_summed_up_without_what_a_day_has_already(
    files: TickFiles, tmp_path: Path
) -> None:
    written(files, 0, 1)
    kept = (files.place(MARKET.fqme) / DAY / "000001.parquet").read_bytes()
    files.join(MARKET.fqme, "2027-01-16", NOW)
    again = files.place(MARKET.fqme) / DAY / "000001.parquet"  # as a crash before it was removed
    again.parent.mkdir()
    again.write_bytes(kept)
    written(files, 2)
    written(files, 3).write_bytes(b"no more")
    found = tickfiles.totals(files.place(MARKET.fqme))
    assert (found.from_ns, found.to_ns, found.rows) == (NOON_NS, NOON_NS + 3, 9)
    sizes = [f"{DAY}.parquet", f"{DAY}/000002.parquet"]
    assert found.size_bytes == sum(
        (files.place(MARKET.fqme) / each).stat().st_size for each in sizes
    )
