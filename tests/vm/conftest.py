"""What virtual machines report, one for each Debian release, each booted when first asked for."""

import json
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packaging"))

from deb import Package
from image import BUILD, CHECKOUT, Image
from vm import VirtualMachine

GIVEN = ("tests", "packaging/machine.py", "packaging/nspawn.py")
"""What of the checkout the program in the machine is made of."""


@dataclass(frozen=True)
class Reported:
    """The lines of one machine, and what it showed on its console."""

    lines: Sequence[Mapping[str, Any]]
    console: str

    def fact(self, fact: str, of: str) -> Any:
        """What it found out. Fails if it didn't."""
        found = [line for line in self.lines if (line["fact"], line["of"]) == (fact, of)]
        if not found or "error" in found[0]:
            why = found[0]["error"] if found else "the machine did not come so far"
            pytest.fail(f"{fact} of {of}: {why}\n\nThe console:\n{self.console}", pytrace=False)
        return found[0]["value"]


@pytest.fixture(params=["bookworm", "trixie"], scope="session")
def reported(request: pytest.FixtureRequest) -> Reported:
    """All that was found out on a release."""
    return _report(request.param)


@pytest.fixture(params=["user", "system"])
def manager(request: pytest.FixtureRequest) -> str:
    """Whose daemons they are."""
    return str(request.param)


@cache
def _report(release: str) -> Reported:
    image = Image(release)
    image.prepare()
    package = Package.of(image)
    package.prepare()
    machine = VirtualMachine(image, package.fast)
    machine.prepare()
    with TemporaryDirectory(prefix="piker-vm-") as directory:
        archive = Path(directory, "archive")
        _pack(archive)
        outcome = machine.run(archive)
    _keep(release, outcome.results, outcome.console)
    lines = [json.loads(line) for line in outcome.results.splitlines()]
    return Reported(lines, outcome.console)


def _pack(archive: Path) -> None:
    with tarfile.open(archive, "w") as tar:
        for name in GIVEN:
            tar.add(CHECKOUT / name, name, filter=_source)


def _source(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith("__pycache__") else member


def _keep(release: str, results: str, console: str) -> None:
    """A copy stays beside the journals of other failures."""
    kept = BUILD / "journals"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"vm-{release}-results.jsonl").write_text(results)
    (kept / f"vm-{release}-console.txt").write_text(console)
