"""What an execution's id says: which one it is, and which correction of it.

IB's ids differ only in the digits after the last point when one corrects the other: of
`0000e0d5.69e042cf.01.02` the execution is `0000e0d5.69e042cf.01`, and it is its second version.
"""

KNOWN = 2
"""How good a cost is that is an execution's own; less: the one before's, or none."""


def parts(exec_id: str) -> tuple[str, int]:
    """The id without its last part, and the number of the version, from 1."""
    root, _, last = exec_id.rpartition(".")
    return (root, max(1, int(last))) if root and last.isdecimal() else (exec_id, 1)


def revision(number: int, cost: int = KNOWN) -> int:
    """As the ledger counts: higher the later the version, and the more is known of its cost."""
    return 3 * (number - 1) + cost - KNOWN
