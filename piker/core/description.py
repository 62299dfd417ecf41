"""The Varlink description of an interface, made from its declaration.

Grammar: varlink.org, "Interface Definition". A field that has a default, or that may be None, is
nullable; docstrings and field descriptions become comments, which `introspect` shows. Varlink has
no unions: one of tagged structs is a type of its own, named by its `Meta(title=…)`, with the tag as
`type` and every field of any of them, nullable where one of them lacks it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

from msgspec import Struct, inspect

from piker.interfaces import Interface, Method

_SCALARS = (
    (inspect.BoolType, "bool"),
    (inspect.IntType, "int"),
    (inspect.FloatType, "float"),
    (inspect.StrType, "string"),
    (inspect.DecimalType, "string"),
    (inspect.BytesType, "string"),
    (inspect.RawType, "object"),
)


def describe(interface: Interface) -> str:
    """The whole description, types first, as `GetInterfaceDescription` gives it."""
    types = _Types(interface)
    methods = [_method(types, method) for method in interface.methods]
    faults = [
        f"{_comment(fault.__doc__)}error {fault.__name__} {_members(types, fault)}"
        for fault in interface.faults
    ]
    parts = [*types.described(), *methods, *faults]
    return "\n\n".join([f"{_comment(interface.doc)}interface {interface.name}", *parts]) + "\n"


@dataclass
class _Types:
    """The structs that an interface mentions, in the order in which they are met."""

    interface: Interface
    met: list["type[Struct] | _Union"] = field(default_factory=list)

    def name(self, met: "type[Struct] | _Union") -> str:
        if met not in self.met:
            self.met.append(met)
        if isinstance(met, _Union):
            return met.title
        return self.interface.aliases.get(met, met.__name__)

    def described(self) -> Iterator[str]:
        """One `type` a struct or union; describing one may add others at the end."""
        for met in self.met:
            if isinstance(met, _Union):
                yield f"# One of these, by its type.\ntype {met.title} {_any_members(self, met)}"
            else:
                yield f"{_comment(met.__doc__)}type {self.name(met)} {_members(self, met)}"


@dataclass(frozen=True)
class _Union:
    """Tagged structs, any one of which may stand in a place."""

    title: str
    structs: tuple[type[Struct], ...]


def _method(types: _Types, method: Method) -> str:
    needs = {"stream": '\nNeeds "more".', "either": '\nMay be called with "more".'}
    doc = _plain(method.call.__doc__) + needs.get(method.shape, "")
    call, reply = _members(types, method.call), _members(types, method.reply)
    return f"{_comment(doc)}method {method.name}{call} -> {reply}"


def _members(types: _Types, struct: type[Struct]) -> str:
    lines = []
    if _tagged(struct):
        lines += [f"  # {_tag(struct)}", "  type: string,"]
    for member in _fields(struct):
        lines += _member(types, member, nullable=not member.required)
    return _parenthesised(lines)


def _any_members(types: _Types, union: _Union) -> str:
    """The members of all; raises TypeError for one that has two types."""
    lines = [f"  type: ({', '.join(map(_tag, union.structs))}),"]
    having: dict[str, list[Any]] = {}
    for struct in union.structs:
        for member in _fields(struct):
            having.setdefault(member.encode_name, []).append(member)
    for name, members in having.items():
        kinds = {_render(types, member.type).lstrip("?") for member in members}
        if len(kinds) > 1:
            raise TypeError(f"expected one type of {name} in {union.title}, were {sorted(kinds)}")
        everywhere = len(members) == len(union.structs) and all(each.required for each in members)
        lines += _member(types, members[0], nullable=not everywhere)
    return _parenthesised(lines)


def _member(types: _Types, member: Any, *, nullable: bool) -> list[str]:
    note, kind = _unwrap(member.type)
    optional = "?" if nullable and not kind else ""
    comment = [f"  # {line}" for line in wrap(note, 96)]
    return [*comment, f"  {member.encode_name}: {optional}{_render(types, member.type)},"]


def _parenthesised(lines: list[str]) -> str:
    if not lines:
        return "()"
    return "(\n" + "\n".join([*lines[:-1], lines[-1].rstrip(",")]) + "\n)"


def _tag(struct: type[Struct]) -> str:
    return str(_info(struct).tag)


def _tagged(struct: type[Struct]) -> bool:
    return _info(struct).tag_field is not None


def _unwrap(kind: inspect.Type) -> tuple[str, str]:
    """A field's description, and "?" if it may be None."""
    note = ""
    if isinstance(kind, inspect.Metadata):
        note = (kind.extra_json_schema or {}).get("description", "")
        kind = kind.type
    nullable = isinstance(kind, inspect.UnionType) and kind.includes_none
    return note, "?" if nullable else ""


def _render(types: _Types, kind: inspect.Type, title: str = "") -> str:
    if isinstance(kind, inspect.Metadata):
        return _render(types, kind.type, (kind.extra_json_schema or {}).get("title", ""))
    if isinstance(kind, inspect.UnionType):
        return _render_union(types, kind, title)
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return f"[]{_render(types, kind.item_type)}"
    if isinstance(kind, inspect.DictType):
        return f"[string]{_render(types, kind.value_type)}"
    if isinstance(kind, inspect.LiteralType):
        return f"({', '.join(map(str, kind.values))})"
    if isinstance(kind, inspect.StructType):
        return types.name(kind.cls)
    return _scalar(kind)


def _render_union(types: _Types, kind: inspect.UnionType, title: str) -> str:
    others = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    optional = "?" if kind.includes_none else ""
    if len(others) == 1:
        return optional + _render(types, others[0])
    structs = tuple(each.cls for each in others if isinstance(each, inspect.StructType))
    if len(structs) != len(others) or not title or not all(map(_tagged, structs)):
        raise TypeError(f"expected one type and None, or tagged structs and a title: {kind.types}")
    return optional + types.name(_Union(title, structs))


def _scalar(kind: inspect.Type) -> str:
    for known, name in _SCALARS:
        if isinstance(kind, known):
            return name
    raise TypeError(f"expected a type that Varlink has, was {kind}")


def _comment(doc: str | None) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in _lines(doc))


def _lines(doc: str | None) -> list[str]:
    return [line.strip() for line in (doc or "").strip().splitlines()]


def _plain(doc: str | None) -> str:
    return "\n".join(_lines(doc))


def check(interface: Interface) -> list[str]:
    """What is wrong with a declaration; empty when it can be described without surprises."""
    problems: list[str] = []
    types = _Types(interface)
    for method in interface.methods:
        problems += _undocumented(method.call) + _undocumented(method.reply)
        problems += [
            f"{method.name}.{member.name} has a default but is not nullable"
            for member in _fields(method.call)
            if not member.required and not _unwrap(member.type)[1]
        ]
    for fault in interface.faults:
        problems += _undocumented(fault)
    describe(interface)
    names = [method.name for method in interface.methods]
    names += [fault.__name__ for fault in interface.faults]
    names += [types.name(met) for met in _all_types(interface)]
    return problems + [f"{name} is declared twice" for name in names if names.count(name) > 1]


def _all_types(interface: Interface) -> list[type[Struct] | _Union]:
    types = _Types(interface)
    for method in interface.methods:
        _members(types, method.call)
        _members(types, method.reply)
    list(types.described())
    return types.met


def _undocumented(struct: type[Struct]) -> list[str]:
    missing = [] if (struct.__doc__ or "").strip() else [f"{struct.__name__} has no docstring"]
    return missing + [
        f"{struct.__name__}.{member.name} has no description"
        for member in _fields(struct)
        if not _unwrap(member.type)[0]
    ]


def _fields(struct: type[Struct]) -> tuple[Any, ...]:
    return _info(struct).fields


def _info(struct: type[Struct]) -> inspect.StructType:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return info
