"""piker history ls, gaps, import, audit and --export: of a datad that keeps bars on a real disk."""

import csv
import gzip
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import trio
from msgspec import structs

from piker import paths, storekeeping
from piker.archive import Archive, open_archive
from piker.brokers import Provider
from piker.cli.history import SHOWN
from piker.core.bars import NS
from piker.core.rowfaults import utc
from piker.datad import Datad
from piker.notify import Manager
from piker.service import Service
from piker.store.places import Series
from piker.store.tickfiles import TickFiles
from piker.transport import listen
from piker.varlink import Server
from tests.cli.command import Ended, call, piker, running
from tests.cli.terminal import in_terminal
from tests.core.samples import DATA
from tests.fakes.venue import WITH_PAST, Venue
from tests.store.bars import JUNE, MINUTE, NOW, minutes, stretch
from tests.store.ticks import DAY, columns, said
from tests.store.ticks import MARKET as BRK

MARKET = "eurusd.spot.fake"
MINUTES = Series(MARKET, 60)
HEAD = "time,open,high,low,close,volume\n"
GOOD = "2026-06-01T00:00:00Z,1.5,2,1,1.75,10\n2026-06-01T00:01:00Z,1.5,2,1,1.75,10\n"
BAD = "2026-06-01T00:02:00Z,1.5,1,2,1.75,10\n"

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
async def archive(home: Path, venue: Venue) -> AsyncIterator[Archive]:
    """Of a datad that listens where one does."""
    directory = paths.history()
    async with open_archive(directory, "fake") as opened, a_datad(opened, venue):
        yield opened


@asynccontextmanager
async def a_datad(archive: Archive, venue: Venue) -> AsyncIterator[None]:
    service = Service("datad", "fake", Manager())
    provider = Provider("fake", "In a test's hands.", {})
    datad = Datad(service, provider, WITH_PAST, venue, (), archive=archive)
    server = Server(service.unit, datad.handlers)
    try:
        async with trio.open_nursery() as nursery:
            with listen(str(paths.socket_path("datad", "fake"))) as listener:
                nursery.start_soon(datad.run)
                nursery.start_soon(server.serve, [listener])
                yield
                nursery.cancel_scope.cancel()
    finally:
        datad.close()


async def put(archive: Archive, *numbers: int, end: int) -> None:
    """Minutes of June that the provider gave, and with them all of its first minutes."""
    rows = minutes(*numbers)
    done = await archive.put(
        MINUTES, rows, [stretch(0, end)], how="backfilled", source="fake", now_ns=NOW
    )
    assert done is not None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.csv"
    path.write_text(HEAD + GOOD)
    return path


def write(file: Path, text: str) -> None:
    """Have it hold this."""
    file.write_text(text)


def unpacked(name: str, directory: Path) -> Path:
    """One of the shipped files, as who has it would import it."""
    path = directory / f"{name}.csv"
    path.write_bytes(gzip.decompress((DATA / f"{name}.csv.gz").read_bytes()))
    return path


def write_damaged(file: Path, at: int) -> None:
    """As Parquet, one bit of it wrong, in what is said of a page."""
    write(file, HEAD + GOOD)
    pl.read_csv(file).write_parquet(file)
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << 4
    file.write_bytes(content)


async def imported(file: Path, *options: str) -> Ended:
    return await piker(
        "history", "import", str(file), "--market", MARKET, "--period", "1m", *options
    )


# --- import


async def test_a_file_is_imported_and_what_was_guessed_is_said(
    archive: Archive, file: Path
) -> None:
    status, out, err = await imported(file)
    span = "2026-06-01T00:00:00Z to 2026-06-01T00:02:00Z"
    assert (status, out) == (0, f"{MARKET} 1m: 2 new, 0 changed, 0 there already; {span}\n")
    assert err.startswith(f"piker: {file}: columns: time=time, open=open, high=high")
    rows = await archive.read(MINUTES, *stretch(0, 10))
    assert rows["volume"].tolist() == [10.0, 10.0]


@pytest.mark.parametrize(
    ("name", "options", "told", "closures"),
    [
        (
            "eurusd-2017-1h-ask-bars",
            ("--period", "1h", "--calendar", "FX"),
            "1h: 1 gap, from 2017-01-01 22:00:00 to 2017-12-29 22:00:00",
            52,
        ),
        (
            "ifl8-2023-12-to-2024-09-1m-bars",
            ("--period", "1m", "--calendar", "XSHG", "--stamps", "end"),
            "1m: no gap, from 2023-12-04 01:30:00 to 2024-09-27 07:00:00",
            399,
        ),
    ],
)
async def test_of_what_no_venue_knows_the_calendar_that_was_said_tells_gaps_from_closures(
    archive: Archive,
    name: str,
    options: tuple[str, ...],
    told: str,
    closures: int,
    tmp_path: Path,
) -> None:
    file, market = unpacked(name, tmp_path), "kept.of.fake"
    ended = await piker("history", "import", str(file), "--market", market, *options)
    assert ended.status == 0
    assert [each.fqme for each in await archive.series()] == [market]
    status, out, err = await piker("history", "gaps", market, "--all")
    *stretches, last = out.splitlines()
    assert (status, last, err) == (0, f"{market} {told}", "")
    assert sum(each.split()[-1] == "closed" for each in stretches) == closures


async def test_days_of_what_no_venue_knows_are_those_of_its_calendar(
    archive: Archive, tmp_path: Path
) -> None:
    file, market = unpacked("eurusd-2017-1h-ask-bars", tmp_path), "kept.of.fake"
    options = ("--period", "1h", "--calendar", "FX")
    assert (await piker("history", "import", str(file), "--market", market, *options)).status == 0
    assert [each.period_s for each in await archive.series()] == [3600]
    _, out, _ = await piker("history", market, "--period", "1d", "--limit", "4", "--json")
    days = [utc(each["time_ns"]) for each in json.loads(out)["bars"]]
    assert days == [f"2017-12-{day}T22:00:00Z" for day in (25, 26, 27, 28)]


async def test_of_many_stretches_that_are_missing_the_newest_are_told_and_how_many_more(
    archive: Archive, file: Path
) -> None:
    row = "2026-06-01T00:{:02}:00Z,1.5,2,1,1.75,10\n"
    write(file, HEAD + "".join(row.format(minute) for minute in range(0, 30, 2)))
    args = ("history", "import", str(file), "--market", "gone.cme.fake", "--period", "1m")
    assert (await piker(*args)).status == 0
    assert len(await archive.read(Series("gone.cme.fake", 60), *stretch(0, 30))) == 15
    _, _, err = await piker("history", "gone.cme.fake", "--to", "2026-06-01T00:30+00:00")
    _, more, *told = err.splitlines()
    span = "missing to 2026-06-01 00:10:00"
    assert more == f"piker: gone.cme.fake: {span}: 6 more stretches; --json has all"
    assert len(told) == SHOWN


async def test_a_calendar_that_is_none_is_refused_with_those_that_are(
    archive: Archive, file: Path
) -> None:
    status, out, err = await imported(file, "--calendar", "Forex")
    assert (status, out) == (1, "")
    assert "expected one of CMES, FX, METALS, " in err
    assert await archive.series() == []


async def test_what_datad_refuses_is_told_before_the_file_is_read(
    archive: Archive, file: Path
) -> None:
    write(file, "\0")
    _, _, err = await imported(file, "--calendar", "Forex")
    assert "expected one of CMES" in err
    assert "expected CSV" not in err


async def test_a_file_with_a_bad_row_is_refused_with_its_line(archive: Archive, file: Path) -> None:
    write(file, HEAD + GOOD + BAD)
    status, out, err = await imported(file)
    assert (status, out) == (1, "")
    assert err.splitlines()[1:] == [
        f"piker: {file}: line 4: high 1 is below low 2",
        f"piker: {file}: 1 of 3 rows are bad: 1 high below low",
        f"piker: {file}: nothing was imported; --skip-bad imports the others",
    ]
    assert await archive.series() == []


async def test_bad_rows_are_left_out_where_that_is_asked_and_their_number_is_told(
    archive: Archive, file: Path
) -> None:
    write(file, HEAD + GOOD + BAD)
    status, out, err = await imported(file, "--skip-bad", "--json")
    told: dict[str, Any] = json.loads(out)
    assert (status, err) == (0, "")
    assert (told["read"], told["bad"], told["added"], told["imported"]) == (3, 1, 2, True)
    assert told["bad_rows"] == [{"where": "line 4", "why": "high 1 is below low 2"}]
    assert told["counts"] == {"high below low": 1}


async def test_what_is_known_better_stays_and_that_is_told(archive: Archive, file: Path) -> None:
    await put(archive, 0, end=1)
    write(file, HEAD + GOOD.replace("1.75", "1.25"))
    status, out, _ = await imported(file)
    assert status == 0
    assert out.splitlines()[1] == (
        "2026-06-01T00:00:00Z: stays 1.5 2 1 1.75, the file has 1.5 2 1 1.25"
    )


async def test_a_file_with_other_stamps_than_one_before_is_refused_unless_it_may_replace(
    archive: Archive, file: Path
) -> None:
    write(file, HEAD + GOOD.replace(",10\n", ",11\n", 1))
    assert (await imported(file)).status == 0
    status, out, err = await imported(file, "--stamps", "end")
    at = "that of 2026-06-01T00:00:00Z"
    differs = f"{at} is 1.5 2 1 1.75 11 0, the file has 1.5 2 1 1.75 10 0"
    instead = "look at --stamps and --zone, or give --replace to have the file's values"
    assert (status, out) == (1, "")
    assert err.splitlines()[1:] == [
        f"piker: {file}: it differs from an earlier import in 1 bar: {differs}",
        f"piker: {file}: nothing was imported: {instead}",
    ]
    told = json.loads((await imported(file, "--stamps", "end", "--json")).out)
    assert (told["imported"], told["conflicts"], told["added"]) == (False, 1, 0)
    assert (await archive.read(MINUTES, *stretch(-9, 9)))["volume"].tolist() == [11.0, 10.0]
    status, out, _ = await imported(file, "--stamps", "end", "--replace")
    assert (status, "1 new, 1 changed, 0 there already" in out) == (0, True)
    assert (await archive.read(MINUTES, *stretch(-9, 9)))["volume"].tolist() == [11.0, 10.0, 10.0]


async def test_of_a_file_in_several_pieces_none_is_kept_if_one_would_be_refused(
    archive: Archive, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storekeeping, "LENT_ROWS", 1)
    write(file, HEAD + GOOD.splitlines()[1] + "\n")
    assert (await imported(file)).status == 0
    write(file, HEAD + GOOD.replace("1.75", "1.25"))
    assert (await imported(file)).status == 1
    assert len(await archive.read(MINUTES, *stretch(0, 9))) == 1
    assert (await imported(file, "--replace")).out.count("1 new, 1 changed") == 1


async def test_a_complete_file_covers_what_it_has_no_row_of(archive: Archive, file: Path) -> None:
    write(file, HEAD + GOOD + BAD.replace("00:02", "00:09").replace("1,2", "2,1"))
    assert (await imported(file, "--complete")).status == 0
    spans = await archive.coverage(MINUTES, *stretch(0, 20))
    assert [(each.from_ns, each.to_ns) for each in spans] == [stretch(0, 10)]


async def test_a_market_that_its_venue_does_not_know_is_imported(
    archive: Archive, file: Path
) -> None:
    args = ("history", "import", str(file), "--market", "gone.cme.fake", "--period", "60s")
    assert (await piker(*args)).status == 0
    assert await archive.series() == [Series("gone.cme.fake", 60)]


@pytest.mark.parametrize("name", ["gone.cme.fake", "gone"])
async def test_what_is_kept_of_such_a_market_is_shown_and_why_it_is_only_that(
    archive: Archive, file: Path, name: str
) -> None:
    args = ("history", "import", str(file), "--market", "gone.cme.fake", "--period", "60s")
    assert (await piker(*args)).status == 0
    status, out, err = await piker("history", name, "--to", "2026-06-01T00:02+00:00")
    assert (status, out.count("\n")) == (0, 2)
    assert out.startswith("gone.cme.fake  bar 2026-06-01 00:00:00  open 1.5")
    assert err.startswith(
        "piker: gone.cme.fake: only what is kept: the venue knows no market of this name\n"
    )
    assert (await piker("history", "never.cme.fake")).status == 1


async def test_a_file_that_is_not_there_or_is_something_else_is_one_line(
    archive: Archive, file: Path
) -> None:
    assert await imported(file.with_name("none")) == (
        1,
        "",
        f"piker: {file.with_name('none')}: No such file or directory\n",
    )
    write(file, "\0")
    expected = "expected CSV, gzipped CSV or Parquet, was something else"
    assert await imported(file) == (1, "", f"piker: {file}: {expected}\n")


@pytest.mark.parametrize("at", [66, 138, 378])
async def test_a_parquet_file_that_polars_panics_on_is_a_sentence(
    archive: Archive, file: Path, at: int
) -> None:
    write_damaged(file, at)
    status, out, err = await imported(file)
    assert (status, out) == (1, "")
    assert err == f"piker: {file}: it is torn or damaged: polars can't read it\n"


# --- what is kept


async def test_what_is_kept_is_a_table_or_an_object_a_series(archive: Archive) -> None:
    assert await piker("history", "ls") == (0, "nothing is kept yet\n", "")
    await put(archive, 0, 1, end=5)
    status, out, _ = await piker("history", "ls")
    assert status == 0
    head, row = out.splitlines()
    assert head.split() == ["market", "period", "from", "to", "rows", "size", "gaps"]
    assert row.split()[:7] == [
        *(MARKET, "1m", "2026-06-01", "00:00:00", "2026-06-01", "00:05:00", "2"),
    ]
    told = json.loads((await piker("history", "ls", "eurusd", "--json")).out)
    assert (told["market"], told["rows"], told["to_ns"]) == (MARKET, 2, JUNE + 5 * MINUTE)


def record(archive: Archive) -> Path:
    """Two messages of the market, each a bid, a trade and a sign of life; their segment."""
    files = TickFiles(archive.files.directory)
    about = structs.replace(said(0, 1), market=structs.replace(BRK, fqme=MARKET))
    path = files.write(DAY, columns(0, 1), about)
    files.unlock()
    return path


async def test_recorded_ticks_are_a_row_of_their_own(archive: Archive) -> None:
    await put(archive, 0, 1, end=5)
    record(archive)
    _, _, row = (await piker("history", "ls")).out.splitlines()
    noon = ("2027-01-15", "12:00:00")
    assert row.split() == [MARKET, "ticks", *noon, *noon, "6", "0.0", "MB"]
    _, told = (await piker("history", "ls", "--json")).out.splitlines()
    assert (json.loads(told)["market"], json.loads(told)["ticks"]) == (MARKET, 6)


async def test_an_audit_sets_damaged_ticks_aside(archive: Archive) -> None:
    path = record(archive)
    path.write_bytes(b"no more")
    status, out, _ = await piker("history", "audit")
    assert (status, out.splitlines()[0]) == (
        1,
        f"{path}: it can't be read: it is no file of piker's: it has no checksum",
    )
    assert (await piker("history", "audit", "--repair")).out.endswith(
        "\n1 found, 1 of them mended\n"
    )
    assert not path.exists()


async def test_gaps_are_a_table_or_an_object(archive: Archive) -> None:
    await put(archive, 0, end=2)
    await archive.put(
        MINUTES, minutes(), [stretch(8, 10)], how="backfilled", source="fake", now_ns=NOW
    )
    status, out, _ = await piker("history", "gaps", MARKET)
    _, row, summary = out.splitlines()
    assert (status, row.split()) == (
        0,
        ["2026-06-01", "00:02:00", "2026-06-01", "00:08:00", "6m", "gap"],
    )
    assert summary.startswith(f"{MARKET} 1m: 1 gap, from 2026-06-01 00:00:00 to ")
    told = json.loads((await piker("history", "gaps", MARKET, "--json")).out)
    assert told["gaps"] == [{"from_ns": JUNE + 2 * MINUTE, "to_ns": JUNE + 8 * MINUTE}]


async def test_all_of_them_are_listed_where_that_is_asked(archive: Archive) -> None:
    await put(archive, 0, end=2)
    _, out, _ = await piker("history", "gaps", MARKET, "--all")
    assert [each.split()[-1] for each in out.splitlines()[1:-1]] == ["backfilled"]


async def test_a_terminal_shows_what_is_covered_as_a_strip(archive: Archive) -> None:
    await put(archive, 0, end=30)
    span = ("--from", "2026-06-01T00:00+00:00", "--to", "2026-06-01T01:00+00:00")
    async with in_terminal("history", "gaps", MARKET, *span) as terminal:
        await terminal.until("█" * 30 + "·" * 30)


async def test_an_audit_tells_what_is_wrong_and_how_to_mend_it(archive: Archive) -> None:
    await put(archive, 0, end=1)
    assert await piker("history", "audit") == (0, "all is well\n", "")
    (path,) = archive.files.place(MINUTES).glob("*.parquet")
    path.write_bytes(b"no more")
    status, out, err = await piker("history", "audit", MARKET)
    assert (status, err.count("--repair mends it")) == (1, 1)
    assert out.startswith(f"{path}: ")
    status, out, _ = await piker("history", "audit", "--repair")
    assert (status, out.splitlines()[-1]) == (0, "1 found, 1 of them mended")


# --- backfill

BACK = ("history", "backfill", MARKET, "--period", "1m")


async def test_a_backfill_is_told_by_lines_to_its_end(archive: Archive) -> None:
    status, out, err = await piker(*BACK, "--from", "3h")
    last = out.splitlines()[-1]
    assert (status, err) == (0, "")
    assert re.match(rf"{MARKET} 1m: 100%, back to .*; done, 1\d\d bars$", last)


async def test_a_program_gets_an_object_each_time(archive: Archive) -> None:
    status, out, _ = await piker(*BACK, "--from", "3h", "--json")
    assert (status, json.loads(out.splitlines()[-1])["state"]) == (0, "done")


async def test_a_terminal_gets_a_bar(archive: Archive) -> None:
    async with in_terminal(*BACK, "--from", "3h") as terminal:
        await terminal.until(f"{MARKET} 1m", "100%", "done")


async def test_who_interrupts_it_leaves_it_going_on(archive: Archive, venue: Venue) -> None:
    venue.past.hold()
    async with running(*BACK, "--from", "3h") as command:
        await command.line()
        status, _, err = await command.end()
    venue.past.let_go()
    assert (status, err.startswith("piker: the backfill goes on; `piker history back")) == (
        130,
        True,
    )
    assert (await piker(*BACK)).out.splitlines()[-1].startswith(f"{MARKET} 1m: 100%")


async def test_it_can_be_paused_and_forgotten(archive: Archive, venue: Venue) -> None:
    venue.past.hold()
    async with running(*BACK, "--from", "3h") as command:
        await command.line()
        status, out, _ = await piker(*BACK, "--pause")
        assert (status, "; paused" in out) == (0, True)
        assert "backfill to" in (await piker("history", "ls")).out
        status, out, _ = await piker(*BACK, "--forget")
        assert (status, "; forgotten" in out) == (0, True)
    venue.past.let_go()


async def test_of_what_nobody_asked_for_nothing_can_be_shown(archive: Archive) -> None:
    status, out, err = await piker(*BACK)
    assert (status, out) == (1, "")
    assert err.startswith("piker: No backfill was asked for; say since when")


# --- export


async def test_bars_are_exported_to_csv(archive: Archive, tmp_path: Path) -> None:
    await put(archive, 0, 1, 5, end=6)
    target = tmp_path / "out.csv"
    assert await piker("history", MARKET, "--export", str(target)) == (
        0,
        f"{target}: 3 bars\n",
        "",
    )
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["time"] for row in rows] == [f"2026-06-01T00:0{minute}:00Z" for minute in (0, 1, 5)]
    assert rows[0] | {"time": ""} == {
        "time": "",
        "open": "1.5",
        "high": "2.0",
        "low": "1.0",
        "close": "1.75",
        "volume": "10.0",
        "trades": "2",
        "derived": "false",
        "partial": "false",
    }


async def test_what_was_exported_can_be_imported_again(archive: Archive, tmp_path: Path) -> None:
    await put(archive, 0, 1, 5, end=6)
    target = tmp_path / "out.parquet"
    assert (await piker("history", MARKET, "--export", str(target))).status == 0
    assert pl.read_parquet(target)["time"].to_physical().to_list() == [
        JUNE + minute * MINUTE for minute in (0, 1, 5)
    ]
    _, out, _ = await imported(target)
    assert "0 new, 0 changed, 3 there already" in out


async def test_what_was_seen_in_part_is_exported_as_that_and_never_imported_as_whole(
    archive: Archive, tmp_path: Path
) -> None:
    await archive.put(
        MINUTES, minutes(0, 1), [stretch(0, 1)], how="live", source="fake", now_ns=NOW
    )
    target = tmp_path / "out.csv"
    assert (await piker("history", MARKET, "--export", str(target))).status == 0
    status, _, err = await imported(target)
    assert (status, err.splitlines()[1:]) == (
        1,
        [
            f"piker: {target}: line 3: partial: not all of its period is known",
            f"piker: {target}: 1 of 2 rows are bad: 1 partial: not all of its period is known",
            f"piker: {target}: nothing was imported; --skip-bad imports the others",
        ],
    )
    assert (await imported(target, "--skip-bad")).status == 0
    spans = await archive.coverage(MINUTES, *stretch(0, 9))
    assert [(each.from_ns, each.to_ns) for each in spans] == [stretch(0, 1)]


async def test_longer_bars_are_exported_of_a_stretch(archive: Archive, tmp_path: Path) -> None:
    await put(archive, *range(20), end=20)
    target = tmp_path / "out.parquet"
    span = ("--from", "2026-06-01T00:05+00:00", "--to", "2026-06-01T00:15+00:00")
    await piker("history", "eurusd", "--period", "5m", *span, "--export", str(target))
    assert pl.read_parquet(target)["volume"].to_list() == [50.0, 50.0]


async def test_bars_of_a_period_that_the_venue_lacks_are_made_of_what_is_kept(
    archive: Archive,
) -> None:
    await put(archive, *range(20), end=20)
    end = ("--to", "2026-06-01T00:20+00:00")
    status, out, _ = await piker(
        "history", MARKET, "--period", "5m", "--limit", "2", *end, "--json"
    )
    told = json.loads(out)
    assert (status, told["period_s"]) == (0, 300)
    assert [each["time_ns"] for each in told["bars"]] == [JUNE + 10 * MINUTE, JUNE + 15 * MINUTE]


async def test_a_file_that_is_there_is_replaced_only_when_told_to(
    archive: Archive, tmp_path: Path
) -> None:
    await put(archive, 0, end=1)
    target = tmp_path / "out.csv"
    target.write_text("mine")
    export = ("history", MARKET, "--export", str(target))
    there = "it is there already; --force replaces it"
    assert await piker(*export) == (1, "", f"piker: {target}: {there}\n")
    assert target.read_text() == "mine"
    assert (await piker(*export, "--force")).status == 0
    assert target.read_text().startswith("time,open")
    assert [each for each in os.listdir(tmp_path) if each.startswith(".out")] == []


# --- what makes no sense

SLIPS = {
    ("gaps",): "expected a market",
    ("import",): "expected a file",
    ("import", "x"): "import: expected --market",
    ("import", "x", "--market", "m"): "import: expected --period",
    ("a.b.c", "x"): "unrecognized arguments: x",
    ("a.b.c", "--repair"): "--repair goes with audit",
    ("backfill", "a.b.c"): "backfill: expected --period",
    ("backfill", "a", "--period", "1m", "--pause", "--forget"): "not allowed with argument",
    ("a.b.c", "--zone", "UTC"): "--zone goes with import",
    ("ls", "--from", "2h"): "--from goes with a market's bars and gaps",
    ("a.b.c", "--force"): "--force goes with --export",
    ("a.b.c", "--export", "x.txt"): "--export: expected a name in .csv or .parquet, was x.txt",
    ("a.b.c", "--export", "x.csv", "--limit", "2"): "--limit doesn't go with --export",
    ("a.b.c", "--period", "1w"): "expected a period such as 1s, 5m, 1h or 1d, was '1w'",
    ("import", "x", "--zone", "Mars"): "expected a time zone such as Asia/Shanghai, was 'Mars'",
    (*("import", "x", "--market", "m", "--period", "1m"), "--columns", "x=y"): "expected FIELD=",
}


@pytest.mark.parametrize(("arguments", "said"), SLIPS.items(), ids=map(" ".join, SLIPS))
def test_what_makes_no_sense_is_a_wrong_argument(
    arguments: tuple[str, ...], said: str, capfd: Capture
) -> None:
    assert call("history", *arguments) == 2
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "period_s"), [("1s", 1), ("5m", 300), ("1min", 60), ("4h", 14_400), ("1d", 86_400)]
)
def test_periods_are_written_as_people_do(text: str, period_s: int) -> None:
    from piker.cli.historytimes import named, period

    assert period(text) == period_s
    assert period(named(period_s)) == period_s


def test_a_span_of_time_is_told_in_two_units() -> None:
    from piker.cli.historytimes import lasting

    assert [lasting(each * NS) for each in (0, 59, 90, 90_000)] == ["0s", "59s", "1m 30s", "1d 1h"]
