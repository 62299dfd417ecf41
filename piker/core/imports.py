"""What executions that are told long after they were done change besides: what stood in for them.

What is held is what the venue says. Where the executions that are known here don't come to that,
an adjustment makes up for it: the *opening* for all that was done before the first look at an
account, an *unexplained* one for what a later look found. Such an adjustment stands in for
executions that nobody told. So the rule is: an execution that is told after all takes from what
stood in for it as much as it brings, in the same transaction. What is held is the same before and
after, whatever part of the truth is told, in whatever order; and once all is told, nothing stands
in for anything, and costs and profits are the true ones.

Which adjustment that is: of an execution before the first look, the opening. Of a later one the
unexplained one of the first look after it that found something. If none did, what is missing comes
to nothing together with something else that is missing: until that is told, too, an unexplained one
of the newest look makes up for it. In the same way there may come to be an opening where there was
none: of less than nothing, if only what was bought is told of what was bought and sold.

What is left of an opening was held before all that is told, so its time is before that. It keeps
the price that the venue gave for it while it is on the same side; on the other side nobody knows
one, and it earns nothing. So costs and profits are as good as what is told.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from msgspec import structs

from piker.accounts import Adjustment, Entry
from piker.orders import NOTHING, Execution

REST = "; since then less what was imported"
"""After where an adjustment came from."""
MADE_UP = "what else would have to be imported with what was"
"""Where one came from that no look has made."""


def signed(execution: Execution | None) -> Decimal:
    """By how much an execution changes what is held."""
    if execution is None:
        return NOTHING
    return execution.size if execution.side == "buy" else -execution.size


def newest_of(told: Iterable[Execution]) -> dict[str, Execution]:
    """Each of these executions once, in its latest revision, by its id."""
    newest: dict[str, Execution] = {}
    for each in told:
        known = newest.get(each.exec_id)
        if known is None or each.revision > known.revision:
            newest[each.exec_id] = each
    return newest


class StandIns:
    """What stands in for executions of an account in a market.

    `entries` are all that the ledger has of it; `first` is its opening as it once was, None: it has
    none. Times are UTC ns: when the account was first looked at, and when the newest look was.
    """

    def __init__(
        self,
        account: str,
        market: str,
        entries: Sequence[Entry],
        first: Adjustment | None,
        opened_ns: int,
        looked_ns: int,
    ) -> None:
        known = [each for each in entries if isinstance(each, Adjustment)]
        self._adjustments = {each.adjustment_id: each for each in known}
        self._executions = newest_of(each for each in entries if isinstance(each, Execution))
        self._first = first
        self._first_look_ns = max(opened_ns, first.time_ns) if first else opened_ns
        self._opening = Adjustment(
            adjustment_id=f"opening:{market}",
            revision=-1,
            account=account,
            market=market,
            kind="opening",
            size=NOTHING,
            source=MADE_UP,
            time_ns=opened_ns,
        )
        self._newest = structs.replace(
            self._opening,
            adjustment_id=f"unexplained:{market}:{looked_ns}",
            kind="unexplained",
            time_ns=looked_ns,
        )
        found = (each for each in known if each.kind == "unexplained")
        self._found = sorted(found, key=lambda each: each.time_ns)

    def after(self, told: Iterable[Execution]) -> tuple[Adjustment, ...]:
        """Those that change when these are told, as they are then.

        Each of these is new to the ledger, once, or corrects what it has.
        """
        groups: defaultdict[str, list[Execution]] = defaultdict(list)
        before: dict[str, Adjustment] = {}
        for each in told:
            stood_in = self._of(each)
            before[stood_in.adjustment_id] = stood_in
            groups[stood_in.adjustment_id].append(each)
        return tuple(self._changed(before, groups))

    def _of(self, execution: Execution) -> Adjustment:
        """What stands in for one."""
        if execution.time_ns <= self._first_look_ns:
            return self._adjustments.get(self._opening.adjustment_id, self._opening)
        later = (look for look in self._found if look.time_ns >= execution.time_ns)
        return next(later, self._newest)

    def _changed(
        self, before: dict[str, Adjustment], groups: dict[str, list[Execution]]
    ) -> Iterator[Adjustment]:
        for adjustment_id, told in groups.items():
            was = before[adjustment_id]
            now = self._without(was, told)
            if now != was and (was.revision >= 0 or now.size):
                source = was.source.removesuffix(REST)
                source = source if source == MADE_UP else source + REST
                yield structs.replace(now, revision=was.revision + 1, source=source)

    def _without(self, stood_in: Adjustment, told: Sequence[Execution]) -> Adjustment:
        more = sum(signed(e) - signed(self._executions.get(e.exec_id)) for e in told)
        rest = structs.replace(stood_in, size=stood_in.size - more)
        if stood_in.kind != "opening":
            return rest
        first = self._first
        price = first.price if first and first.size * rest.size > 0 else None
        since_ns = min(each.time_ns for each in told)
        return structs.replace(rest, price=price, time_ns=min(rest.time_ns, since_ns - 1))
