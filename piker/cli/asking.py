"""Real money is moved when its owner was shown what, and said yes; or gave --yes."""

import sys
from collections.abc import Callable, Iterable

from piker.cli import FAILED, USAGE, desk


def ask(what: str, shown: Callable[[], Iterable[str]], question: str, undone: str) -> int:
    """The exit status: 0 if its owner, to whom lines are shown, says yes.

    `what` is real money, or may be; where nobody can be asked it is said that --yes is expected.
    """
    if not sys.stdin.isatty():
        desk.say(f"{what}: expected --yes")
        return USAGE
    print("\n".join(shown()), file=sys.stderr)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if answer.strip().lower() in ("y", "yes"):
        return 0
    if not answer:  # Ctrl-D leaves the cursor where it is
        print(file=sys.stderr)
    desk.say(undone)
    return FAILED


def real_money(what: str, live: bool | None) -> str:
    """That something is real money, or may be as far as anybody knows."""
    return f"{what} {'is' if live else 'may be'} real money"
