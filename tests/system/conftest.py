"""Tests on a real systemd: each gets a machine of its own, with piker's package installed.

A test is run on another release, or on several, by parametrizing `release`:

    @pytest.mark.parametrize("release", ["bookworm", "trixie"])
"""

import os
import shutil
import sys
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packaging"))

from deb import Package
from image import BUILD, Image
from machine import Machine

TOOLS = ("systemd-nspawn", "mmdebstrap", "nsenter", "setpriv", "unshare")


@pytest.fixture
def release() -> str:
    """The Debian release that a test runs on, where it doesn't say."""
    return "bookworm"


@pytest.fixture
def package(release: str) -> Package:
    """The package of the checkout as it is now; built and installed once."""
    return prepared(release)


def prepared(release: str) -> Package:
    """The same, for tests that share a machine."""
    image = Image(release)
    missing = _missing(image)
    if missing and os.environ.get("PIKER_REQUIRE_SYSTEM_TESTS") == "1":
        pytest.fail(f"tests on a real systemd are required, but {missing}", pytrace=False)
    if missing:
        pytest.skip(f"not run: tests on a real systemd, since {missing}")
    return _prepared(image)


@pytest.fixture
def layers(package: Package) -> list[Path]:
    """Debian, and the package over it."""
    return [package.layer, package.image.root]


@pytest.fixture
def machine(layers: list[Path]) -> Iterator[Machine]:
    """A machine that has just booted; nothing of it is left afterwards."""
    with Machine(layers) as machine:
        yield machine


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure go its machines' journals. What was skipped is one line, not one a test."""
    report = yield
    if report.when == "call" and report.failed:
        given = [*getattr(item, "funcargs", {}).values()]
        given += [getattr(each, "machine", None) for each in given]
        for machine in {each for each in given if isinstance(each, Machine)}:
            report.sections.append(("journal", _keep_journal(machine, item.name)))
    if report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = (__file__, 1, report.longrepr[2])
    return report


@cache
def _prepared(image: Image) -> Package:
    """Once a run, so that a checkout that changes meanwhile is tested as it was."""
    package = Package.of(image)
    package.prepare()
    return package


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
    return "" if image.ready else f"no image is built (packaging/image.py {image.release})"
