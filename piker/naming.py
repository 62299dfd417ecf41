"""Whole names: of markets, as their datad says, and of accounts, as the configuration has them."""

import logging
import re
from functools import cache, partial

from piker import brokers, config, paths
from piker.accounts import PAPER, parse_account
from piker.book import Book
from piker.config import Configuration
from piker.errors import Fault, Refused, Unreachable, say
from piker.interfaces.broker import UnknownAccount
from piker.interfaces.data import DATA, DescribeMarket, MarketReply, NoSuchMarket
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.orders import ORDERS_VIEW, NoMarketData, NotCalledLive
from piker.markets import Market
from piker.varlink import open_client

_NAME = re.compile(r"[^\s/\x00-\x1f\x7f]{1,200}")
"""What could be a market's or an account's name. A provider's is part of a socket's path."""

logger = logging.getLogger(__name__)


class Names:
    """Knows markets and accounts by less than their whole names."""

    def __init__(self, book: Book, configuration: Configuration) -> None:
        self._book = book
        self._configuration = configuration
        self._at_broker = cache(partial(_at_broker, configuration))

    async def market(self, name: str) -> str:
        """The whole name of a market; datad is asked if it isn't one that is known.

        Raises Refused: NoSuchMarket, AmbiguousMarket, NoMarketData.
        """
        name = name.lower()
        return name if name in self._book.markets else (await self._describe(name)).fqme

    async def learn(self, fqme: str) -> bool:
        """Have the book know a market, so that its ledger can be kept; whether it does."""
        if fqme in self._book.markets:
            return True
        try:
            self._book.know(await self._describe(fqme))
        except Refused as no:
            logger.warning("%s is held, and can't be accounted for: %s", fqme, no)
            return False
        return True

    async def described(self, fqme: str) -> Market | None:
        """What its datad says that a market is; None: there is none such, or no longer.

        Raises Refused: NoSuchMarket of what can't be a name, AmbiguousMarket, NoMarketData.
        """
        if not _NAME.fullmatch(fqme) or fqme != fqme.lower():
            raise Refused(NoSuchMarket(market=fqme, similar=()))
        try:
            return await self._ask(fqme)
        except Refused as no:
            if isinstance(no.fault, NoSuchMarket | InvalidParameter):
                return None
            raise Refused(as_ours(no.fault, fqme)) from no

    def account(self, name: str, provider: str) -> str:
        """The account that a name means in a market of a provider. Raises Refused."""
        parsed = parse_account(name or self._configuration.emsd.default_account, provider)
        if parsed is None or parsed.provider != provider:
            raise self._unknown(name, *([f"{PAPER}.{provider}"] if provider else []))
        return str(parsed)

    def account_alone(self, name: str) -> str:
        """An account that was used or is configured, where no market completes its name.

        Raises Refused(UnknownAccount): who asks for what nobody knows has mistyped it.
        """
        wanted = name or self._configuration.emsd.default_account
        if wanted not in self.accounts():
            raise self._unknown(name)
        return wanted

    def broker_account(self, name: str) -> str:
        """The whole name of an account at a broker, that may never have been used here.

        Raises Refused(UnknownAccount).
        """
        parsed = parse_account(name, "")
        at_broker = parsed is not None and not parsed.is_paper and str(parsed) == name
        there = name in self.accounts() or name.partition(".")[0] in brokers.known()
        if not (at_broker and there):
            raise self._unknown(name)
        return name

    def accounts(self) -> tuple[str, ...]:
        """Those that were used or are configured, by name."""
        return tuple(sorted({*self._configuration.accounts, *self._book.accounts()}))

    def called_live(self, account: str) -> bool:
        """Whether the configuration says that an account may trade real money."""
        known = self._configuration.accounts.get(account)
        return bool(known and known.live)

    def is_live(self, account: str) -> bool | None:
        """Whether it is real money, by its name and the configuration; None: they don't say."""
        parsed = parse_account(account, "")
        assert parsed is not None, f"expected an account's whole name, was {account!r}"
        if parsed.is_paper:
            return False
        return self._at_broker(parsed.provider).get(account, self.called_live(account) or None)

    def at_broker(self, account: str) -> tuple[str, ...]:
        """The accounts that the configuration has at the same broker; none: it doesn't show."""
        parsed = parse_account(account, "")
        return tuple(sorted(self._at_broker(parsed.provider))) if parsed else ()

    def check_whole(self, account: str | None) -> None:
        """Raises Refused(UnknownAccount) for what can't be an account's whole name."""
        if account is not None and str(parse_account(account, "")) != account:
            raise self._unknown(account)

    def _unknown(self, name: str, *others: str) -> Refused:
        allowed = tuple(sorted({*self.accounts(), *others}))
        return Refused(UnknownAccount(account=name, allowed=allowed))

    async def _describe(self, name: str) -> Market:
        """What datad says that a market is. Raises Refused."""
        try:
            return await self._ask(name)
        except Refused as no:
            raise Refused(as_ours(no.fault, name)) from no

    async def _ask(self, name: str) -> Market:
        """The same, with datad's own faults."""
        if not _NAME.fullmatch(name):
            raise Refused(NoSuchMarket(market=name, similar=()))
        provider = name.rpartition(".")[2]
        path = str(paths.socket_path("datad", provider))
        try:
            async with open_client(path, DATA, f"datad@{provider}") as client:
                return (await client.call(DescribeMarket(name=name), MarketReply)).market
        except Unreachable as error:
            raise Refused(NoMarketData(market=name, reason=str(error))) from error


def _at_broker(configuration: Configuration, provider: str) -> dict[str, bool]:
    """A provider's accounts that its settings let there be: True: real money. Empty: not known."""
    if provider not in brokers.BUILT_IN:
        return {}
    try:
        declared = brokers.load(provider)
        settings = config.provider_settings(configuration, provider, declared.settings)
        known_accounts = brokers.get_eps(declared, "emsd").get("known_accounts")
        return dict(known_accounts(settings)) if known_accounts else {}
    except Refused:  # as its daemon says itself
        return {}


def not_called_live(account: str) -> NotCalledLive:
    """What is wrong with an order of an account of real money that isn't called so."""
    return NotCalledLive(account=account, expected=f'[accounts."{account}"] live = true')


def as_ours(fault: Fault, market: str) -> Fault:
    """A fault of datad's, as piker.Orders has it."""
    if type(fault) in ORDERS_VIEW.faults:
        return fault
    return NoMarketData(market=market, reason=say(fault))
