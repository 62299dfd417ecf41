"""Times as somebody else's file has them, as UTC nanoseconds: numbers, datetimes or text."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from piker.core.bars import NS
from piker.core.rowfaults import UNREADABLE, Fault, utc
from piker.store.foreignwords import Asked, BadFile, Unit

if TYPE_CHECKING:
    import polars as pl

IN_NS: Final[Mapping[Unit, int]] = {"s": NS, "ms": 1_000_000, "us": 1000, "ns": 1}
WORDS: Final[Mapping[Unit, str]] = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}
SMALLEST: Final[Mapping[Unit, float]] = {"ns": 1e17, "us": 1e14, "ms": 1e11, "s": 1e8}
"""From such a number on it is taken for a time in that unit: all are in 1973."""
YEAR_NS: Final = 366 * 86_400 * NS
FORMATS: Final = (
    *("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"),
    *("%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M"),
    *("%Y.%m.%d %H:%M:%S", "%Y.%m.%d %H:%M", "%Y%m%d %H%M%S", "%Y%m%dT%H%M%S", "%Y%m%d %H%M"),
    *("%Y%m%d %H:%M:%S", "%Y%m%d %H:%M"),
)
"""How times are written, without their zone."""
WITH_FRACTION: Final = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
"""Those after which a fraction of a second may stand."""
OFFSET: Final = r"(?:[Zz]|[+-]\d\d:?\d\d)$"
ENDING: Final = re.compile(rf"((?<=:\d\d:\d\d)\.0+)?({OFFSET})?$")
"""A fraction that is 0, and a zone."""
LOOKED_AT: Final = 10_000
"""Rows at least by which it is told what most are, if there are as many."""
WHOLE_MOST: Final = float(2**62)
"""Numbers up to here are whole ones of 64 bits."""


class Times:
    """The times of a file, UTC ns, and which of them can't be told."""

    def __init__(self, raw: "pl.Series", asked: Asked, now_ns: int) -> None:
        self.raw = raw
        self.unit: Unit | None = None
        """What they count, if they are numbers."""
        self.faults: list[tuple[Fault, np.ndarray]] = []
        """What is wrong with which of them."""
        self.guessed: list[str] = []
        """What the file doesn't say, for people."""
        self._unit, self._zone, self._now_ns = asked.unit, asked.zone, now_ns
        self._written = asked.written
        self.expected = f"a time written as {self._written}" if self._written else "a time"
        """What each of them should be, for people."""
        self.ns = self._ns_of(raw)
        if (self.ns == UNREADABLE).all():
            self.guessed = [
                "none of its times can be read: --time-format says how they are written"
            ]

    def _ns_of(self, raw: "pl.Series") -> np.ndarray:
        import polars as pl

        kind = raw.dtype
        if self._written:
            return self._of_texts_as(self._written, raw)
        if isinstance(kind, pl.Date):
            return self._without_zone(raw.cast(pl.Datetime("ns")))
        if isinstance(kind, pl.Datetime):
            return self._of_datetimes(raw, kind)
        if isinstance(kind, pl.String) and _are_numbers(raw):
            whole = raw.cast(pl.Int64, strict=False)
            lost = whole.null_count() > raw.null_count()
            return self._of_numbers(raw.cast(pl.Float64, strict=False) if lost else whole)
        if isinstance(kind, pl.String):
            return self._of_texts(raw)
        if kind.is_numeric():
            return self._of_numbers(raw if kind.is_integer() else raw.cast(pl.Float64))
        raise BadFile(f"{raw.name}: expected times, was {kind}")

    def _of_numbers(self, raw: "pl.Series") -> np.ndarray:
        """Counted since 1970, UTC."""
        middle = _middle(raw)
        self.unit = self._unit or unit_of(middle)
        if self.unit is None:
            raise BadFile(
                f"{raw.name}: expected times in s, ms, us or ns since 1970, "
                f"was such as {middle:.10g}; --unit says which"
            )
        self._check_year(middle, self.unit)
        if not self._unit:
            self.guessed.append(f"times are {WORDS[self.unit]} since 1970, UTC: --unit {self.unit}")
        return _scaled(raw, IN_NS[self.unit])

    def _of_datetimes(self, raw: "pl.Series", kind: Any) -> np.ndarray:
        """A count, too; whose unit may have been mistaken by who wrote the file."""

        count = raw.to_physical()
        if self._unit:
            return self._of_numbers(count)
        self._check_year(_middle(count), kind.time_unit)
        whole = raw.dt.cast_time_unit("ns")
        return _filled(whole) if kind.time_zone else self._without_zone(whole)

    def _check_year(self, middle: float, unit: Unit) -> None:
        """Raises BadFile if in that unit they are of no year that can be."""
        middle_ns = middle * IN_NS[unit]
        looks = unit_of(middle)
        if YEAR_NS <= middle_ns <= self._now_ns + YEAR_NS or looks in (None, unit):
            return
        assert looks is not None
        raise BadFile(
            f"{self.raw.name}: {middle:.0f} in {WORDS[unit]} is {utc(round(middle_ns))}; "
            f"they look like {WORDS[looks]}: --unit {looks}"
        )

    def _of_texts_as(self, written: str, raw: "pl.Series") -> np.ndarray:
        """As a person says that they are written. Raises BadFile."""
        import polars as pl
        from polars.exceptions import PolarsError

        if not (isinstance(raw.dtype, pl.String) or raw.dtype.is_integer()):
            raise BadFile(f"{raw.name}: expected times written as {written}, was {raw.dtype}")
        if _has(written, "Z") and self._zone is None:
            raise BadFile(f"{written}: what %Z stands for isn't understood: add --zone ZONE")
        try:
            times = _datetimes(raw.cast(pl.String), written)
        except PolarsError as error:
            problem = str(error).partition("\n")[0]
            raise BadFile(f"times can't be read as {written}: {problem}") from error
        assert isinstance(times.dtype, pl.Datetime), "expected what it was made to be"
        in_utc = times.dtype.time_zone or _has(written, "s")
        return _filled(times) if in_utc else self._without_zone(times)

    def _of_texts(self, raw: "pl.Series") -> np.ndarray:
        """Those that all end alike are quicker to read without their end."""
        import polars as pl

        fraction, zone = _ending(raw)
        if not (fraction or zone):
            return self._of_any_texts(raw)
        naive = _parsed(
            raw.str.strip_suffix(fraction + zone), WITH_FRACTION if fraction else FORMATS
        )
        return _filled(_in_utc(naive, pl.Series([zone]))) if zone else self._without_zone(naive)

    def _of_any_texts(self, raw: "pl.Series") -> np.ndarray:
        zoned = raw.str.contains(OFFSET).fill_null(value=False)
        naive = _parsed(raw.str.replace(OFFSET, "") if zoned.any() else raw)
        if not zoned.any():
            return self._without_zone(naive)
        if not zoned.all():
            odd = (zoned != zoned[0]) & raw.is_not_null()
            self.faults.append((Fault.MIXED_ZONES, odd.to_numpy()))
        if not zoned[0]:
            return self._without_zone(naive)
        return _filled(_in_utc(naive, raw))

    def _without_zone(self, naive: "pl.Series") -> np.ndarray:
        """Of a zone's clocks, which show some times twice, and some never."""
        if self._zone is None:
            self.guessed.append("times name no zone: they are taken as UTC; else --zone ZONE")
            return _filled(naive)
        local = naive.dt.replace_time_zone(self._zone.key, ambiguous="null", non_existent="null")
        lost = (local.is_null() & naive.is_not_null()).to_numpy()
        self.faults.append((Fault.NO_SUCH_TIME, lost))
        return _filled(local)

    def looks_otherwise(self, written: object) -> str:
        """That a number is in another unit than those around it; or nothing."""
        try:
            looks = unit_of(float(cast("float", written)))
        except (TypeError, ValueError):
            return ""
        if self.unit is None or looks in (None, self.unit):
            return ""
        assert looks is not None
        expected = f"expected {WORDS[self.unit]}, as in other rows"
        return f"time {written}: {expected}; it looks like {WORDS[looks]}"


def joined(*halves: "pl.Series") -> "pl.Series":
    """A time as it is, or a date and a time of day as one. Raises BadFile."""
    import polars as pl
    from polars.exceptions import PolarsError

    if len(halves) == 1:
        return halves[0]
    if [each.dtype for each in halves] == [pl.Date, pl.Time]:
        days, clocks = map(pl.lit, halves)
        return pl.select(days.dt.combine(clocks, "ns")).to_series()
    for each in halves:
        if each.dtype.is_nested() or each.dtype.is_float():
            raise BadFile(f"{each.name}: expected half of a time, was {each.dtype}")
    try:
        texts = [each.cast(pl.String) for each in halves]
    except PolarsError as error:
        kinds = " and ".join(str(each.dtype) for each in halves)
        raise BadFile(f"expected the halves of a time, was {kinds}") from error
    joint = pl.concat_str([pl.lit(each) for each in texts], separator=" ")
    return pl.select(joint).to_series().alias(halves[-1].name)


def unit_of(number: float) -> Unit | None:
    """The unit that a time since 1970 of this size is counted in, if it is one."""
    return next((unit for unit, least in SMALLEST.items() if abs(number) >= least), None)


def _are_numbers(raw: "pl.Series") -> bool:
    """Judged by the first that there is."""
    there = raw.drop_nulls()
    return len(there) > 0 and re.fullmatch(r"\s*-?\d+(\.\d*)?\s*", there[0]) is not None


def _middle(raw: "pl.Series") -> float:
    """One row that is bad doesn't move it; of very many, some tell it."""
    there = raw.drop_nulls()
    some = there.gather_every(len(there) // LOOKED_AT or 1)
    return float(cast("float", some.median() or 0))


def _scaled(raw: "pl.Series", ns: int) -> np.ndarray:
    """What doesn't fit is unreadable."""
    import polars as pl

    if not raw.dtype.is_integer():
        raw = (raw * ns).round()
        fits = raw.is_finite() & (raw.abs() < WHOLE_MOST)
        return _ints(pl.select(pl.when(fits).then(raw)).to_series().cast(pl.Int64))
    raw = raw.cast(pl.Int64, strict=False)
    fits = raw.is_between(-(2**62) // ns, 2**62 // ns)
    return _ints(pl.select(pl.when(fits).then(raw * ns)).to_series())


def _ending(texts: "pl.Series") -> tuple[str, str]:
    """The fraction of a second and the zone of all of them, as far as they are the same."""
    found = ENDING.search("".join(texts.drop_nulls().head(1)))
    fraction, zone = found.groups("") if found else ("", "")
    return (fraction, zone) if texts.str.ends_with(fraction + zone).all() else ("", "")


def _parsed(texts: "pl.Series", formats: Sequence[str] = FORMATS) -> "pl.Series":
    """As datetimes without a zone; null where none of the formats is that of the text."""
    first = texts.drop_nulls().head(1)
    likely, *others = sorted(formats, key=lambda each: _datetimes(first, each).null_count())
    found = _datetimes(texts, likely)
    for each in others:
        left = found.is_null() & texts.is_not_null()
        if not left.any():
            break
        found = found.scatter(left.arg_true(), _datetimes(texts.filter(left), each))
    return found


def _has(written: str, letter: str) -> bool:
    """Whether %LETTER stands in how times are written, padded in some way or not."""
    return bool(re.search(rf"(?<!%)(?:%%)*%[-_0]?{letter}", written))


def _datetimes(texts: "pl.Series", written: str) -> "pl.Series":
    """Null where they aren't written so. Hardly any is there twice: none is looked up."""
    return texts.str.to_datetime(written, strict=False, time_unit="ns", cache=False)


def _in_utc(naive: "pl.Series", ends: "pl.Series") -> "pl.Series":
    """What clocks show so far east of Greenwich as these texts end with, or as one for all."""
    import polars as pl

    return naive - (_offset_minutes(ends) * 60_000_000_000).cast(pl.Duration("ns"))


def _offset_minutes(raw: "pl.Series") -> "pl.Series":
    """East of Greenwich; "Z" is none."""
    import polars as pl

    if raw.str.contains("[Zz]$").all():
        return pl.zeros(len(raw), pl.Int64, eager=True)
    parts = raw.str.extract_groups(r"([+-])(\d\d):?(\d\d)$").struct.unnest()
    sign, hours, minutes = parts.get_columns()
    total = hours.cast(pl.Int64) * 60 + minutes.cast(pl.Int64)
    return (total * sign.replace_strict({"+": 1, "-": -1}, default=0)).cast(pl.Int64).fill_null(0)


def _filled(times: "pl.Series") -> np.ndarray:
    return _ints(times.to_physical())


def _ints(numbers: "pl.Series") -> np.ndarray:
    return numbers.fill_null(UNREADABLE).to_numpy()
