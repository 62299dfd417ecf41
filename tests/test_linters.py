"""The linters, as tests: style, types, the floors, units, and what may stand in a file."""

import ast
import graphlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {".git", ".venv", "build", "dist", "__pycache__"}

# Bottom to top. A module imports from floors below its own, and from siblings.
FLOORS = {
    "words": (
        "piker",
        "piker.accounts",
        "piker.clock",
        "piker.coverage",
        "piker.errors",
        "piker.markets",
        "piker.orders",
        "piker.paths",
        "piker.quotes",
    ),
    "interfaces": ("piker.interfaces", "piker.interfaces.*"),
    "core": ("piker.core", "piker.core.*"),
    "hands": (
        "piker.barmemory",
        "piker.config",
        "piker.fanout",
        "piker.log",
        "piker.notify",
        "piker.privacy",
        "piker.service",
        "piker.sharedbars",
        "piker.store",
        "piker.store.*",
        "piker.transport",
        "piker.varlink",
    ),
    "brokers": ("piker.brokers", "piker.brokers.*"),
    "daemons": (
        "piker.archive",
        "piker.backfill",
        "piker.backfilling",
        "piker.barkeeper",
        "piker.book",
        "piker.brokerage",
        "piker.brokerd",
        "piker.clearing",
        "piker.datad",
        "piker.dayprofit",
        "piker.desk",
        "piker.emsd",
        "piker.feeds",
        "piker.gate",
        "piker.history",
        "piker.iblane",
        "piker.importing",
        "piker.keptpast",
        "piker.lingering",
        "piker.naming",
        "piker.paperboi",
        "piker.paperbook",
        "piker.paperdialog",
        "piker.reconciling",
        "piker.recording",
        "piker.routing",
        "piker.samplerd",
        "piker.standing",
        "piker.storedpast",
        "piker.storekeeping",
        "piker.tailing",
        "piker.triggering",
        "piker.turns",
    ),
    "doors": (
        "piker.cli",
        "piker.cli.*",
        "piker.client",
        "piker.handover",
        "piker.notifier",
        "piker.panic",
        "piker.pikerd",
        "piker.resume",
        "piker.storeclient",
        "piker.supervision",
        "piker.supervision.*",
    ),
}

# Decisions wait for nothing, ask nobody, and give the same answer every time.
PURE = (
    "piker.core",
    "piker.core.*",
    "piker.brokers.*.wire",
    "piker.brokers.*.tradewire",
    "piker.brokers.ib.accountnames",
    "piker.brokers.ib.codes",
    "piker.brokers.ib.contracts",
    "piker.brokers.ib.desired",
    "piker.brokers.ib.execids",
    "piker.brokers.ib.flex",
    "piker.brokers.ib.flexxml",
    "piker.brokers.ib.frames",
    "piker.brokers.ib.hours",
    "piker.brokers.ib.memory",
    "piker.brokers.ib.messages",
    "piker.brokers.ib.names",
    "piker.brokers.ib.orderids",
    "piker.brokers.ib.orderlists",
    "piker.brokers.ib.orderstate",
    "piker.brokers.ib.pacing",
    "piker.brokers.ib.pastbars",
    "piker.brokers.ib.questions",
    "piker.brokers.ib.restartwindow",
    "piker.brokers.ib.seen",
    "piker.brokers.ib.ticks",
    "piker.brokers.replay.ticks",
    "piker.brokers.replay.timeline",
    "piker.brokers.replay.translate",
    "piker.brokers.sim.venuebook",
    "piker.brokers.sim.venuecontrol",
)
IMPURE = {"trio", "socket", "os", "time", "logging", "random", "subprocess"}

# In two parts, since this file is searched, too.
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "deb." + "debian.org")

COMMANDS = {
    "ruff check": ["-m", "ruff", "check", "--quiet"],
    "ruff format": ["-m", "ruff", "format", "--check", "--quiet"],
    "docstrings": ["-m", "ruff", "check", "--quiet", "--select=D100,D101,D102,D103,D104", "piker"],
    "mypy --strict": ["-m", "mypy", "--no-error-summary"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_linter_has_nothing_to_say(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_stands_on_one_floor() -> None:
    on = {module: [floor for floor in FLOORS if stands_on(module, floor)] for module in modules()}
    assert {module: floors for module, floors in on.items() if len(floors) != 1} == {}


def test_every_line_of_the_table_has_a_module() -> None:
    patterns = [pattern for row in FLOORS.values() for pattern in row]
    assert [each for each in patterns if not any(fnmatch(m, each) for m in modules())] == []


def test_a_module_imports_from_floors_below_its_own() -> None:
    upward = [
        f"{module} ({floor(module)}) imports {imported} ({floor(imported)})"
        for module in modules()
        for imported in imports_of_ours(module)
        if rank(imported) > rank(module)
    ]
    assert upward == []


def test_imports_have_no_cycle() -> None:
    graph = {module: set(imports_of_ours(module)) - {module} for module in modules()}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(graph)


def test_what_decides_imports_nothing_impure() -> None:
    impure = [
        f"{module} imports {name}"
        for module in modules()
        if any(fnmatch(module, pattern) for pattern in PURE)
        for name in imported_names(module)
        if name.split(".")[0] in IMPURE
    ]
    assert impure == []


def test_no_file_names_a_package_registry() -> None:
    naming = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in files_of_the_repository()
        for host in REGISTRIES
        if host.encode() in path.read_bytes()
    ]
    assert naming == []


def test_shell_scripts_can_be_parsed() -> None:
    for path in files_of_the_repository():
        if path.read_bytes().startswith(b"#!/bin/sh"):
            subprocess.run(["sh", "-n", path], check=True)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
@pytest.mark.parametrize("manager", ["user", "system"])
def test_systemd_has_nothing_to_say_about_the_units(manager: str, tmp_path: Path) -> None:
    subprocess.run([ROOT / "packaging/install-units", manager, tmp_path], check=True)
    python = str(Path(sys.executable).resolve())
    units = [path for path in tmp_path.iterdir() if path.is_file()]
    for unit in units:
        unit.write_text(unit.read_text().replace("/usr/lib/piker/bin/python", python))
    done = subprocess.run(
        ["systemd-analyze", f"--{manager}", "--man=no", "verify", *sorted(units)],
        env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def stands_on(module: str, floor: str) -> bool:
    """Whether the table puts a module on a floor."""
    return any(fnmatch(module, pattern) for pattern in FLOORS[floor])


def floor(module: str) -> str:
    """The floor of a module."""
    return next(name for name in FLOORS if stands_on(module, name))


def rank(module: str) -> int:
    """How high a module stands."""
    return list(FLOORS).index(floor(module))


@cache
def modules() -> dict[str, Path]:
    """Every module of piker and its file."""
    return {name_of(path): path for path in sorted((ROOT / "piker").rglob("*.py"))}


def name_of(path: Path) -> str:
    """The name under which a file of the checkout is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of_ours(module: str) -> set[str]:
    """Modules of piker that a module imports, anywhere in it."""
    return {name for name in imported_names(module) if name in modules()}


def imported_names(module: str) -> Iterator[str]:
    """What a module imports: modules, and names in them that may be modules."""
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from members
            if not members <= set(modules()):
                yield node.module


def files_of_the_repository() -> Iterator[Path]:
    """Every file that isn't made."""
    for directory, below, names in os.walk(ROOT):
        below[:] = [name for name in below if name not in NOT_OURS and not name.endswith("_cache")]
        yield from (Path(directory, name) for name in sorted(names))
