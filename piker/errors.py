"""The two ways a call can fail: a named "no", and nobody there."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Fault(Struct, frozen=True, kw_only=True):
    """A named "no" that an interface declares; its fields tell the caller what to do about it."""


class Refused(Exception):
    """A call was answered with a fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault

    def __str__(self) -> str:
        return say(self.fault)


class Unreachable(Exception):
    """Nobody answered: the daemon is not there, went away, or was silent for too long.

    The text names the unit to look at.
    """


def leaf(error: BaseException) -> BaseException:
    """The first single error in a group of groups, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def say(fault: Fault) -> str:
    """One line for a person: the fault's docstring and every value it carries.

    An only value that tells by itself what was expected is said alone.
    """
    title = (type(fault).__doc__ or type(fault).__name__).strip().splitlines()[0].rstrip(".")
    values = {name: _readable(name, getattr(fault, name)) for name in fault.__struct_fields__}
    told = [f"{_title(name)}: {words}" for name, words in values.items() if words]
    alone = next(iter(values.values()), "") if len(values) == 1 else ""
    if ": expected " in alone.lower():
        return alone
    return f"{title} ({', '.join(told)})" if told else title


def local_time(time_ns: int) -> str:
    """A UTC time as clocks here show it, with the zone, since the words may be read elsewhere."""
    try:
        local = (_EPOCH + timedelta(seconds=time_ns // 1_000_000_000)).astimezone()
    except (OverflowError, ValueError):
        return f"{time_ns} ns since 1970"
    return f"{local:%Y-%m-%d %H:%M:%S %Z}"


def _unit(name: str) -> str:
    """The unit that a field's name ends in, if it does."""
    return next((each for each in _UNITS if name.endswith(each)), "")


def _title(name: str) -> str:
    """A field's name for a person; its unit stands at the value."""
    return name.removesuffix(_unit(name)).replace("_", " ")


def _readable(name: str, value: object) -> str:
    """A value for a person; nothing if there is none, or a time that is not known."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    unit = _unit(name)
    return _UNITS[unit](value) if unit and isinstance(value, int) else str(value)


_UNITS: dict[str, Callable[[int], str]] = {
    "_ns": lambda value: local_time(value) if value else "",
    "_ms": lambda value: f"{value} ms",
    "_s": lambda value: f"{value} s",
    "_bytes": lambda value: f"{value / 1e6:.1f} MB",
}
"""How values of fields that end so are shown: times, spans, sizes."""
