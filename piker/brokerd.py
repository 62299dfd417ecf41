"""brokerd@P: live order control at one provider, and nothing else. Serves piker.Broker.

    python -m piker.brokerd PROVIDER

The only daemon that is given credentials: by its manager, as files in $CREDENTIALS_DIRECTORY named
as the provider declares. It writes nothing: the venue keeps the orders, emsd the book.

Task tree, within piker.service's: the tasks of the provider's trade dialog, in its own context.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from piker import brokers, config, service
from piker.brokerage import Brokerage, open_brokerage
from piker.brokers import Hear, TradeDialog
from piker.errors import Refused
from piker.interfaces.broker import BROKER, CredentialRefused
from piker.interfaces.service import BrokenProvider
from piker.service import Service
from piker.store.credentials import ALL, PROBLEMS

UNSET = ("", "none")
"""What a credential is that nobody has set: units give such a default, so that a connection to a
daemon without one is answered, and not retried for ever."""

logger = logging.getLogger(__name__)


class Credentials(Mapping[str, str]):
    """What a provider is given to prove who it is, by name. Never shown."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self._values)})"


def read_credentials(names: tuple[str, ...]) -> Credentials:
    """The credentials of these names, without the line end. Raises Refused(CredentialRefused)."""
    return Credentials({name: _expected(name) for name in names})


def _expected(name: str) -> str:
    """One of them, which must be set. Raises Refused(CredentialRefused)."""
    try:
        value = _read(name)
    except OSError as error:
        fault = CredentialRefused(name=name, reason=error.strerror or str(error))
        raise Refused(fault) from error
    if value in UNSET:
        raise Refused(CredentialRefused(name=name, reason=_why_unset(name)))
    return value


def _read(name: str) -> str:
    """What the manager gives by this name. Raises OSError or Refused(CredentialRefused)."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        reason = "expected one from the manager, was given no $CREDENTIALS_DIRECTORY"
        raise Refused(CredentialRefused(name=name, reason=reason))
    try:
        return Path(directory, name).read_text().strip()
    except UnicodeDecodeError:  # whose text holds what was read
        raise Refused(CredentialRefused(name=name, reason="expected text in UTF-8")) from None


def _why_unset(name: str) -> str:
    """What piker.handover found wrong with it, if it is there at all."""
    try:
        lines = _read(PROBLEMS).splitlines()
    except OSError:  # handed over in another way
        lines = []
    problems = dict(line.partition(": ")[::2] for line in lines)
    problem = problems.get(name) or problems.get(ALL)
    return f"it can't be handed over: {problem}" if problem else "it is not set"


@asynccontextmanager
async def open_brokerd(service: Service) -> AsyncIterator[Brokerage]:
    """A brokerd for the service's instance. Raises Refused if it can't do its work."""
    configuration = config.load()
    service.idle_exit_s = configuration.idle_exit_s
    name = service.instance or ""
    provider = brokers.load(name)
    open_trade_dialog = brokers.get_eps(provider, "brokerd").get("open_trade_dialog")
    if open_trade_dialog is None:
        reason = "no order control: it lacks open_trade_dialog"
        raise Refused(BrokenProvider(provider=name, reason=reason))
    settings = config.provider_settings(configuration, name, provider.settings)
    credentials = read_credentials(provider.credentials)

    def open_dialog(hear: Hear) -> AbstractAsyncContextManager[TradeDialog]:
        opened: AbstractAsyncContextManager[TradeDialog] = open_trade_dialog(
            settings, credentials, hear
        )
        return opened

    async with AsyncExitStack() as stack:
        opening = open_brokerage(name, open_dialog, service.changed)
        try:
            brokerage = await stack.enter_async_context(opening)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a provider raises
            # Neither its text nor its trace is shown: it may hold what it was given.
            logger.error("open_trade_dialog failed: %s", type(error).__name__)
            reason = f"open_trade_dialog: {type(error).__name__}"
            raise Refused(BrokenProvider(provider=name, reason=reason)) from None
        yield brokerage


def main() -> int:
    """python -m piker.brokerd PROVIDER."""
    return service.main_of_provider("brokerd", open_brokerd, (BROKER,))


if __name__ == "__main__":
    sys.exit(main())
