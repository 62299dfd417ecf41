"""How an interface is declared: methods, replies and faults as frozen structs.

Each sibling module declares one interface and does nothing else. Daemons serve what is declared,
clients decode by it, and the Varlink description is made from it (`piker.core.description`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from piker.errors import Fault

Shape = Literal["command", "stream", "either"]


class Call(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a method. An optional one is nullable: clients may send null for it."""


class Reply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a method answers. A field with a default may be left out."""


@dataclass(frozen=True)
class Method:
    """One method. A `stream` needs `more`; `either` answers once without it."""

    name: str
    call: type[Call]
    reply: type[Reply]
    shape: Shape = "command"


@dataclass(frozen=True, eq=False)
class Interface:
    """A named set of methods and faults; itself a key, as there is one of each.

    `aliases` gives the Varlink name of a struct whose class name one of the methods has.
    """

    name: str
    doc: str
    methods: tuple[Method, ...]
    faults: tuple[type[Fault], ...] = ()
    aliases: Mapping[type[Struct], str] = field(default_factory=dict)

    def method(self, call: type[Call]) -> Method:
        """The method whose parameters are of this class."""
        return next(method for method in self.methods if method.call is call)

    def full_name(self, fault: type[Fault]) -> str:
        """The name of a fault on the wire."""
        return f"{self.name}.{fault.__name__}"
