"""org.varlink.service: what every Varlink service answers about itself.

Source: varlink.org, "Service". Every daemon serves it.
"""

from typing import Annotated

from msgspec import Meta

from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply


class GetInfo(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who serves here, and which interfaces."""


class Info(Reply, frozen=True, kw_only=True):
    """Who serves here, and which interfaces."""

    vendor: Annotated[str, Meta(description="who made it")]
    product: Annotated[str, Meta(description="the daemon and its instance")]
    version: Annotated[str, Meta(description="version of piker")]
    url: Annotated[str, Meta(description="where to read about it")]
    interfaces: Annotated[tuple[str, ...], Meta(description="names of the interfaces served")]


class GetInterfaceDescription(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The description of one interface."""

    interface: Annotated[str, Meta(description="its name")]


class InterfaceDescription(Reply, frozen=True, kw_only=True):
    """The description of one interface."""

    description: Annotated[str, Meta(description="in Varlink's interface definition language")]


class InterfaceNotFound(Fault, frozen=True, kw_only=True):
    """This interface is not served here."""

    interface: Annotated[str, Meta(description="the name asked for")]


class MethodNotFound(Fault, frozen=True, kw_only=True):
    """The interface has no such method."""

    method: Annotated[str, Meta(description="the name asked for")]


class MethodNotImplemented(Fault, frozen=True, kw_only=True):
    """The method is described but not available."""

    method: Annotated[str, Meta(description="the name asked for")]


class InvalidParameter(Fault, frozen=True, kw_only=True):
    """A parameter is missing, unknown or of a wrong type or value."""

    parameter: Annotated[str, Meta(description="its name, and what was expected of it")]


class PermissionDenied(Fault, frozen=True, kw_only=True):
    """The caller may not do this."""


class ExpectedMore(Fault, frozen=True, kw_only=True):
    """The method is a stream and needs "more"."""


INTROSPECTION = Interface(
    "org.varlink.service",
    "What every Varlink service answers about itself.",
    (
        Method("GetInfo", GetInfo, Info),
        Method("GetInterfaceDescription", GetInterfaceDescription, InterfaceDescription),
    ),
    (
        InterfaceNotFound,
        MethodNotFound,
        MethodNotImplemented,
        InvalidParameter,
        PermissionDenied,
        ExpectedMore,
    ),
)
