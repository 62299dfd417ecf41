"""The rows of a Flex report of Interactive Brokers, out of its XML, which is nobody's to trust.

    <FlexQueryResponse queryName="all" type="AF"><FlexStatements count="1">
    <FlexStatement accountId="U0000001" fromDate="20260101" …>
    <Trades><Trade assetCategory="STK" symbol="AAPL" ibExecID="0000e0d5.69e042cf.01.01" … />

Read by expat, with its declarations of document types refused: without one there are no entities
but those of XML itself, nothing to expand, and nothing outside the file to be fetched.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from xml.parsers import expat

from msgspec import Struct

from piker.brokers.ib.accountnames import shortened

MAX_BYTES = 256 * 1024 * 1024
"""A year of the busiest accounts is a tenth of that."""
MAX_ROWS = 100_000
"""With more, ask for a shorter time."""
MAX_DEPTH = 16
"""A report has five."""

_NUMBER = re.compile(r"\b[A-Z]{1,5}[0-9]{5,15}\b")
"""An account's, which is shown to nobody whole."""
REPORT, RESPONSE, STATEMENT = "FlexQueryResponse", "FlexStatementResponse", "FlexStatement"
SECTIONS = {"Trades", "TradeConfirms"}
"""Those that tell of executions, of the two kinds of Flex queries."""
ANSWERS = {"Status", "ErrorCode", "ErrorMessage", "ReferenceCode"}


class BadReport(ValueError):
    """It can't be read; the text says what was there and what to do."""


class Row(Struct, frozen=True, kw_only=True):
    """One element of a section of trades."""

    number: int
    """Counts from 1 over the whole report."""
    tag: str
    account: str
    """The number of the account that its statement is of."""
    said: Mapping[str, str]
    """Its attributes, of those that were asked for."""


def rows(parts: Iterable[bytes], wanted: Collection[str]) -> list[Row]:
    """The rows of all trades in a report, with the attributes that are wanted. Raises BadReport."""
    reader = _Reader(frozenset(wanted))
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_BYTES:
            raise too_big(size)
        reader.feed(part)
    if not size:
        raise BadReport("it is empty: download the report again")
    reader.end()
    return reader.rows


def too_big(size: int) -> BadReport:
    """That a file of so many bytes, or more, isn't read."""
    most = f"{MAX_BYTES // 1024**2} MiB"
    return BadReport(f"expected at most {most}, was {size} bytes: ask for a shorter time")


class _Reader:
    """Takes a file as it comes, and keeps of it only the rows."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self.rows: list[Row] = []
        self._wanted = wanted
        self._open: list[str] = []
        """The elements that haven't ended."""
        self._root = ""
        self._account = ""
        self._answers: dict[str, str] = {}
        """What IB says instead of a report."""
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = _refuse_declaration
        self._parser.EntityDeclHandler = _refuse_declaration
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._hear

    def feed(self, part: bytes) -> None:
        self._parse(part, is_last=False)

    def end(self) -> None:
        self._parse(b"", is_last=True)
        if self._root == RESPONSE:
            raise _no_report(self._answers)

    def _parse(self, part: bytes, *, is_last: bool) -> None:
        try:
            self._parser.Parse(part, is_last)
        except expat.ExpatError as error:
            if is_last and self._root:
                raise BadReport(
                    f"it ends in line {error.lineno}, in the middle: download the report again"
                ) from error
            problem = expat.ErrorString(error.code)
            raise BadReport(
                f"expected XML, was {problem} in line {error.lineno}: choose XML as the format "
                "of the Flex query"
            ) from error

    def _start(self, tag: str, said: Mapping[str, str]) -> None:
        if not self._open:
            self._root = _checked_root(tag)
        if len(self._open) >= MAX_DEPTH:
            raise BadReport(f"expected a Flex report, was one element in {MAX_DEPTH} others: {tag}")
        if tag == STATEMENT:
            self._account = said.get("accountId", "")
        elif self._open and self._open[-1] in SECTIONS:
            self._take(tag, said)
        self._open.append(tag)

    def _take(self, tag: str, said: Mapping[str, str]) -> None:
        if len(self.rows) >= MAX_ROWS:
            raise BadReport(f"expected at most {MAX_ROWS} trades, was more: ask for a shorter time")
        kept = {name: value.strip() for name, value in said.items() if name in self._wanted}
        number = len(self.rows) + 1
        self.rows.append(Row(number=number, tag=tag, account=self._account, said=kept))

    def _end(self, tag: str) -> None:
        self._open.pop()

    def _hear(self, text: str) -> None:
        if self._root == RESPONSE and self._open[-1] in ANSWERS:
            said = self._answers.get(self._open[-1], "")
            self._answers[self._open[-1]] = (said + text)[:1000]


def _refuse_declaration(*_: object) -> None:
    raise BadReport(
        "expected a Flex report, was XML with a document type of its own (<!DOCTYPE), which no "
        "report has: it isn't read"
    )


def _checked_root(tag: str) -> str:
    if tag in (REPORT, RESPONSE):
        return tag
    raise BadReport(
        f"expected a Flex report ({REPORT}), was another XML ({tag[:100]}): in Client Portal, run "
        "the Flex query and download its XML"
    )


def _no_report(said: Mapping[str, str]) -> BadReport:
    """What IB's web service answers while, or because, there is no report."""
    code, message = said.get("ErrorCode", "none"), said.get("ErrorMessage", "no reason was given")
    if said.get("ReferenceCode"):
        return BadReport(
            "expected a Flex report, was IB's answer that it makes one: download the report itself"
        )
    hidden = _NUMBER.sub(lambda found: shortened(found[0]), message)
    return BadReport(f"IB made no report: {hidden} (error {code}): run the Flex query again")
