"""The Varlink description of an interface, made from its declaration.

Grammar: varlink.org, "Interface Definition". A field that has a default, or that may be None, is
nullable; docstrings and field descriptions become comments, which `introspect` shows.
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
    met: list[type[Struct]] = field(default_factory=list)

    def name(self, struct: type[Struct]) -> str:
        if struct not in self.met:
            self.met.append(struct)
        return self.interface.aliases.get(struct, struct.__name__)

    def described(self) -> Iterator[str]:
        """One `type` a struct; describing one may add others at the end."""
        for struct in self.met:
            body = _members(self, struct)
            yield f"{_comment(struct.__doc__)}type {self.name(struct)} {body}"


def _method(types: _Types, method: Method) -> str:
    needs = {"stream": '\nNeeds "more".', "either": '\nMay be called with "more".'}
    doc = _plain(method.call.__doc__) + needs.get(method.shape, "")
    call, reply = _members(types, method.call), _members(types, method.reply)
    return f"{_comment(doc)}method {method.name}{call} -> {reply}"


def _members(types: _Types, struct: type[Struct]) -> str:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    if not info.fields:
        return "()"
    lines = []
    for member in info.fields:
        note, kind = _unwrap(member.type)
        optional = "" if member.required or kind.startswith("?") else "?"
        lines += [f"  # {line}" for line in wrap(note, 96)]
        lines.append(f"  {member.encode_name}: {optional}{_render(types, member.type)},")
    lines[-1] = lines[-1].rstrip(",")
    return "(\n" + "\n".join(lines) + "\n)"


def _unwrap(kind: inspect.Type) -> tuple[str, str]:
    """A field's description, and "?" if it may be None."""
    note = ""
    if isinstance(kind, inspect.Metadata):
        note = (kind.extra_json_schema or {}).get("description", "")
        kind = kind.type
    nullable = isinstance(kind, inspect.UnionType) and kind.includes_none
    return note, "?" if nullable else ""


def _render(types: _Types, kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata):
        return _render(types, kind.type)
    if isinstance(kind, inspect.UnionType):
        return _render_union(types, kind)
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return f"[]{_render(types, kind.item_type)}"
    if isinstance(kind, inspect.DictType):
        return f"[string]{_render(types, kind.value_type)}"
    if isinstance(kind, inspect.LiteralType):
        return f"({', '.join(map(str, kind.values))})"
    if isinstance(kind, inspect.StructType):
        return types.name(kind.cls)
    return _scalar(kind)


def _render_union(types: _Types, kind: inspect.UnionType) -> str:
    others = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    if len(others) != 1:
        raise TypeError(f"expected one type and None, was {kind.types}: Varlink has no unions")
    return f"?{_render(types, others[0])}"


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
    names += [types.name(struct) for struct in _all_types(interface)]
    return problems + [f"{name} is declared twice" for name in names if names.count(name) > 1]


def _all_types(interface: Interface) -> list[type[Struct]]:
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
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return info.fields
