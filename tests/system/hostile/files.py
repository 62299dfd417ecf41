"""Attacks by files."""

import os
import select
from pathlib import Path


def read(path: str) -> str:
    """What a file holds."""
    return Path(path).read_text(errors="replace")


def heads(*directories: str) -> str:
    """How every file below directories begins. Raises FileNotFoundError if none can be read."""
    paths = [path for each in directories for path in Path(each).rglob("*") if path.is_file()]
    found = [path for path in paths if os.access(path, os.R_OK)]
    if not found:
        raise FileNotFoundError(f"nothing to read below {', '.join(directories)}")
    return "\n".join(f"{path}: {_head(path)}" for path in found)


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return repr(file.read(16))


def write(path: str) -> str:
    """A file of the attacker's, and the directories that lead to it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("# hostile\n")
    return path


def append(path: str) -> str:
    """A line of the attacker's at the end of a file that is there, or not."""
    with Path(path).open("a") as file:
        file.write("# hostile\n")
    return path


def terminals() -> str:
    """What is typed at the person's terminals: whoever reads first has it."""
    paths = [path for path in Path("/dev/pts").glob("[0-9]*") if os.access(path, os.R_OK)]
    if not paths:
        raise FileNotFoundError("no terminal to read from")
    opened = [os.open(path, os.O_RDONLY | os.O_NOCTTY) for path in paths]
    ready, _, _ = select.select(opened, [], [], 0)
    return "\n".join(os.read(each, 64).decode() for each in ready)
