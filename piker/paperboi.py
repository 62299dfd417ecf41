"""paperboi@P: clears paper orders against the live feed of provider P. Serves piker.Broker.

    python -m piker.paperboi PROVIDER

Task tree, beside piker.service's: that of its dialog (piker.paperdialog).
"""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from piker import brokers, config, service
from piker.brokerage import Brokerage, Control
from piker.interfaces import Interface
from piker.interfaces.broker import BROKER
from piker.interfaces.service import Component, Counter
from piker.paperdialog import PaperDialog, open_dialog
from piker.service import Report, Service

NAMED = 3
"""Markets that STATUS names; Health lists all."""


class Paperboi:
    """The daemon: a brokerage, and how its dialog is."""

    def __init__(self, brokerage: Brokerage, dialog: PaperDialog) -> None:
        self.handlers: Mapping[Interface, object] = brokerage.handlers
        self._brokerage = brokerage
        self._dialog = dialog

    def report(self) -> Report:
        """A line a person can trust."""
        broker = self._brokerage.report()
        orders = sum(self._dialog.working.values())
        held = [name for name in self._dialog.working if not self._is_live(name)]
        says = [f"{_counted(orders, 'order')} open"]
        says += [f"held in {', '.join(held[:NAMED])}{' …' if held[NAMED:] else ''}"] if held else []
        return Report(
            status=f"{broker.status} · {' · '.join(says)}",
            state="degraded" if self._away() else broker.state,
            components=tuple(map(self._component, sorted(self._dialog.working))),
            counters=(*broker.counters, Counter(name="orders_open", value=orders)),
        )

    def reason_to_live(self) -> str:
        """Orders that are open."""
        orders = sum(self._dialog.working.values())
        return f"{_counted(orders, 'order')} open" if orders else ""

    async def run(self) -> None:
        """No tasks of its own: the dialog's live in the dialog's context."""
        await self._brokerage.run()

    def _is_live(self, fqme: str) -> bool:
        state = self._dialog.states.get(fqme)
        return state is not None and state.state == "live"

    def _away(self) -> bool:
        """Whether orders wait for a datad that is away."""
        states = self._dialog.states
        return any(states[fqme] is None for fqme in self._dialog.working if fqme in states)

    def _component(self, fqme: str) -> Component:
        state = self._dialog.states.get(fqme)
        orders = _counted(self._dialog.working[fqme], "order")
        reason = f", {state.reason}" if state and state.reason else ""
        return Component(
            name=fqme, state=state.state if state else "away", detail=f"{orders}{reason}"
        )


@asynccontextmanager
async def open_paperboi(service: Service) -> AsyncIterator[Paperboi]:
    """A paperboi for the service's instance. Raises Refused if it can't do its work."""
    configuration = config.load()
    service.idle_exit_s = configuration.idle_exit_s
    name = service.instance or ""
    provider = brokers.load(name)
    control = Control(service.changed)
    async with open_dialog(service, provider, configuration, control.hear) as dialog:
        brokerage = Brokerage(dialog.accounts[0], dialog, control, service.changed)
        yield Paperboi(brokerage, dialog)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def main() -> int:
    """python -m piker.paperboi PROVIDER."""
    return service.main_of_provider("paperboi", open_paperboi, (BROKER,))


if __name__ == "__main__":
    sys.exit(main())
