"""The Varlink description that is made from a declaration."""

from decimal import Decimal
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct
from varlink.scanner import Interface as ScannedInterface

from piker.core.description import check, describe
from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply
from piker.interfaces.broker import BROKER
from piker.interfaces.clock import CLOCK
from piker.interfaces.data import DATA
from piker.interfaces.introspection import INTROSPECTION
from piker.interfaces.orders import ORDERS, ORDERS_VIEW
from piker.interfaces.service import SERVICE
from piker.interfaces.supervisor import SUPERVISOR

EVERY = (BROKER, CLOCK, DATA, INTROSPECTION, ORDERS, ORDERS_VIEW, SERVICE, SUPERVISOR)


class Leaf(Struct, frozen=True, kw_only=True):
    """A leaf."""

    colour: Annotated[Literal["green", "red"], Meta(description="what it looks like")]


class Grow(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Grow for a while."""

    days: Annotated[int, Meta(description="how long, days")]
    water: Annotated[float | None, Meta(description="litres a day")] = None


class Grown(Reply, frozen=True, kw_only=True):
    """What has grown."""

    leaves: Annotated[tuple[Leaf, ...], Meta(description="from the top")]
    height: Annotated[Decimal, Meta(description="metres")]
    notes: Annotated[dict[str, str], Meta(description="by whom")]
    tall: Annotated[bool, Meta(description="whether it is")] = False


class Withered(Fault, frozen=True, kw_only=True):
    """It has withered."""


class Bare(Call, frozen=True, kw_only=True):
    unexplained: int = 3


class Mixed(Reply, frozen=True, kw_only=True):
    """A union."""

    value: Annotated[int | str, Meta(description="either")]


class Budded(Struct, frozen=True, kw_only=True, tag=True):
    """A leaf came."""

    leaf: Annotated[int, Meta(description="number")]


class Fell(Struct, frozen=True, kw_only=True, tag=True):
    """A leaf fell."""

    leaf: Annotated[int, Meta(description="number")]
    depth: Annotated[float, Meta(description="how far, m")] = 0.0


class Misnamed(Struct, frozen=True, kw_only=True, tag=True):
    """A leaf has a name."""

    leaf: Annotated[str, Meta(description="its name")]


class Telling(Reply, frozen=True, kw_only=True):
    """An event."""

    event: Annotated[Budded | Fell, Meta(title="Event", description="what happened")]


class Mistelling(Reply, frozen=True, kw_only=True):
    """An event whose leaf is one thing or another."""

    event: Annotated[Budded | Misnamed, Meta(title="Event", description="what happened")]


GARDEN = Interface("example.Garden", "Plants.", (Method("Grow", Grow, Grown),), (Withered,))

GARDEN_DESCRIBED = """\
# Plants.
interface example.Garden

# A leaf.
type Leaf (
  # what it looks like
  colour: (green, red)
)

# Grow for a while.
method Grow(
  # how long, days
  days: int,
  # litres a day
  water: ?float
) -> (
  # from the top
  leaves: []Leaf,
  # metres
  height: string,
  # by whom
  notes: [string]string,
  # whether it is
  tall: ?bool
)

# It has withered.
error Withered ()
"""


def test_a_declaration_is_described_with_its_comments() -> None:
    assert describe(GARDEN) == GARDEN_DESCRIBED


@pytest.mark.parametrize("interface", EVERY, ids=lambda each: each.name)
def test_every_interface_can_be_described_without_surprises(interface: Interface) -> None:
    assert check(interface) == []


@pytest.mark.parametrize("interface", EVERY, ids=lambda each: each.name)
def test_an_independent_scanner_reads_every_description(interface: Interface) -> None:
    scanned = ScannedInterface(describe(interface))
    declared = {each.name for each in interface.methods}
    declared |= {each.__name__ for each in interface.faults}
    assert scanned.name == interface.name
    assert declared <= scanned.members.keys()


def test_a_stream_says_that_it_needs_more() -> None:
    assert '# Needs "more".\nmethod Ticks(' in describe(CLOCK)
    assert '# May be called with "more".\nmethod Health(' in describe(SERVICE)


def test_a_struct_of_a_methods_name_has_another_one() -> None:
    assert "type MarketInfo (" in describe(DATA)
    assert "method Market(" in describe(DATA)


def test_a_declaration_without_words_is_found() -> None:
    poor = Interface("example.Poor", "Poor.", (Method("Bare", Bare, Grown),))
    assert check(poor) == [
        "Bare has no docstring",
        "Bare.unexplained has no description",
        "Bare.unexplained has a default but is not nullable",
    ]


def test_a_name_that_is_declared_twice_is_found() -> None:
    twice = Interface("example.Twice", "Twice.", (Method("Leaf", Grow, Grown),))
    assert check(twice) == ["Leaf is declared twice", "Leaf is declared twice"]


def test_a_union_of_what_has_no_tags_is_refused() -> None:
    mixed = Interface("example.Mixed", "Mixed.", (Method("Mix", Grow, Mixed),))
    with pytest.raises(TypeError, match="tagged structs and a title"):
        describe(mixed)


def test_a_union_of_tagged_structs_is_one_type_with_the_fields_of_all() -> None:
    told = Interface("example.Told", "Told.", (Method("Tell", Grow, Telling),))
    assert """# One of these, by its type.
type Event (
  type: (Budded, Fell),
  # number
  leaf: int,
  # how far, m
  depth: ?float
)
""" in describe(told)


def test_a_field_of_two_types_in_one_union_is_refused() -> None:
    told = Interface("example.Told", "Told.", (Method("Tell", Grow, Mistelling),))
    with pytest.raises(TypeError, match="expected one type of leaf in Event, were"):
        describe(told)
