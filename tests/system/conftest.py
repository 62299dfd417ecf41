"""Tests on a real systemd: each gets a machine of its own, with the checkout installed."""

import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packaging"))

from image import BUILD, Image
from machine import Machine

RELEASE = "bookworm"
TOOLS = ("systemd-nspawn", "mmdebstrap", "nsenter", "setpriv", "unshare")


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Debian, the libraries, and piker as the checkout has it now."""
    image = Image(RELEASE)
    missing = _missing(image)
    if missing and os.environ.get("PIKER_REQUIRE_SYSTEM_TESTS") == "1":
        pytest.fail(f"tests on a real systemd are required, but {missing}", pytrace=False)
    if missing:
        pytest.skip(f"not run: tests on a real systemd, since {missing}")
    piker = tmp_path_factory.mktemp("piker-layer")
    image.install_piker(piker)
    return [piker, image.libraries, image.root]


@pytest.fixture
def machine(layers: list[Path]) -> Iterator[Machine]:
    """A machine that has just booted; nothing of it is left afterwards."""
    with Machine(layers) as machine:
        yield machine


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure goes the machine's journal. What was skipped is one line, not one a test."""
    report = yield
    machine = getattr(item, "funcargs", {}).get("machine")
    if report.when == "call" and report.failed and isinstance(machine, Machine):
        report.sections.append(("journal", _keep_journal(machine, item.name)))
    if report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = (__file__, 1, report.longrepr[2])
    return report


def _keep_journal(machine: Machine, name: str) -> str:
    """The journal; a copy stays in build/journals/."""
    journal = machine.journal()
    kept = BUILD / "journals" / f"{name}.txt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(journal)
    return journal


def _missing(image: Image) -> str:
    """Why no machine can be booted here, or an empty text."""
    if os.getuid() != 0:
        return "only root can boot one"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"these programs are missing: {', '.join(absent)}"
    return "" if image.ready else f"no image is built (packaging/image.py {RELEASE})"
