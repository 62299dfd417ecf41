"""The two ways a call can fail: a named "no", and nobody there."""

from msgspec import Struct


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
    """One line for a person: the fault's docstring and every value it carries."""
    title = (type(fault).__doc__ or type(fault).__name__).strip().splitlines()[0].rstrip(".")
    values = ", ".join(
        f"{name}: {_readable(getattr(fault, name))}"
        for name in fault.__struct_fields__
        if getattr(fault, name) not in (None, (), "")
    )
    return f"{title} ({values})" if values else title


def _readable(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
