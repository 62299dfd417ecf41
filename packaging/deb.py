"""The packages: built in a root filesystem of their Debian release, from a copy of the sources.

`python packaging/deb.py build bookworm` makes dist/piker_VERSION_ARCHITECTURE.deb, and that of
piker-history beside it, and says what lintian finds. `python packaging/deb.py next FILE.deb` makes
of a package the one that would come after it, to try an upgrade with.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from image import BUILD, CHECKOUT, RELEASES, Image, cached, digest, locked

# What is in the package, or says how it is made; debian/tests try it when it is.
SOURCES = ("debian", "docs/man", "packaging/completion", "piker", "units")
FILES = (
    *("LICENSE", "NOTICE", "README.md", "pyproject.toml"),
    *("packaging/install-units", "packaging/piker.catalog", "packaging/piker.toml"),
)
LEFT_OUT = ("__pycache__", "tests")

SUFFIXES = {"bookworm": "~deb12u1", "trixie": "~deb13u1"}
"""What a release adds to the version, so that the next release's is higher."""

# /mnt is a directory with the sources in piker/; the packages come to lie beside it.
PACK = """
export HOME=/tmp
cd /mnt/piker
dpkg-buildpackage --build=binary --no-sign --jobs=2 >/mnt/log 2>&1 || { cat /mnt/log; exit 1; }
"""
# Packages for tests are ones that aren't compressed.
LINT = """
lintian --tag-display-limit=0 --fail-on=error,warning --color=never --suppress-tags=\
uses-no-compression-for-control-tarball,uses-no-compression-for-data-tarball /mnt/*.deb
"""

INSTALL = "dpkg --force-unsafe-io --install /mnt/piker.deb"

COMPILE = """
python3 -m compileall -q -f --invalidation-mode unchecked-hash -s /mnt \
    /mnt/usr/lib/piker/lib/python3.*/site-packages/piker/__init__.py
"""

# How long a package that nobody asked for since is kept.
KEPT_S = 4 * 3600


@dataclass(frozen=True)
class Package:
    """The packages for one Debian release, of a checkout with these contents; mostly piker."""

    image: Image
    contents: str

    @classmethod
    def of(cls, image: Image) -> Self:
        """That of the checkout as it is now."""
        return cls(image, _contents())

    @property
    def fast(self) -> Path:
        """The package for tests, hardly compressed."""
        return _file_of("piker", self._built)

    @property
    def history(self) -> Path:
        """That of piker-history, for tests, too."""
        return _file_of("piker-history", self._built)

    @property
    def small(self) -> Path:
        """The same as it is published, made of it when first asked for."""
        small = self._built / "small" / self.fast.name
        with locked(BUILD / "packages.lock"):
            cached(small.parent, lambda path: _compress(self.fast, path / small.name))
        return small

    @property
    def layer(self) -> Path:
        """What installing it changes in the image, as a layer over it."""
        return self._built / "layer"

    def prepare(self) -> None:
        """Build and install it, if this wasn't done with these sources."""
        with locked(BUILD / "packages.lock"):
            cached(self._built, self._make)
            os.utime(self._built)
            _forget(self._built.parent, self._built)

    def build(self, target: Path, *, compressor: str = "xz") -> list[Path]:
        """Build them into a directory; gives their files."""
        with _stage(self.image) as stage:
            environment = f"--setenv=DPKG_DEB_COMPRESSOR_TYPE={compressor}"
            wheels = f"--bind-ro={self.image.wheels}:/mnt/piker/wheels"
            self.image.run(PACK, f"--bind={stage}:/mnt", wheels, environment)
            target.mkdir(parents=True, exist_ok=True)
            built = sorted(stage.glob("*.deb"))
            return [Path(shutil.move(each, target / each.name)) for each in built]

    def lint(self, *packages: Path) -> None:
        """Have lintian look at them. Raises CalledProcessError at an error or a warning."""
        self.image.run(LINT, *(f"--bind-ro={each}:/mnt/{each.name}" for each in packages))

    @property
    def _built(self) -> Path:
        image = self.image
        roots = (image.root.name, image.build_root.name, image.wheels.name)
        name = digest(*roots, PACK, INSTALL, self.contents)
        return BUILD / "packages" / f"{self.image.release}-{name}"

    def _make(self, path: Path) -> None:
        self.build(path, compressor="none")
        with tempfile.TemporaryDirectory(prefix=".disk-", dir=path) as disk:
            bind = f"--bind-ro={_file_of('piker', path)}:/mnt/piker.deb"
            self.image.run(INSTALL, bind, base=self.image.root, disk=Path(disk))
            (Path(disk) / "upper").rename(path / "layer")


def _file_of(package: str, directory: Path) -> Path:
    return next(directory.glob(f"{package}_*.deb"))


def _compress(package: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="piker-small-") as directory:
        root = Path(directory, "root")
        subprocess.run(["dpkg-deb", "--raw-extract", package, root], check=True)
        _pack(root, target, "xz")


def _pack(root: Path, target: Path, compressor: str) -> None:
    how = ["--root-owner-group", f"-Z{compressor}", "--build", str(root), str(target)]
    subprocess.run(["dpkg-deb", *how], check=True, stdout=subprocess.DEVNULL)


def next_version(
    package: Path, target: Path, change: Callable[[Path], None] = lambda root: None
) -> Path:
    """Make the package that would come after another, in a directory; gives its file.

    It is the same with a higher version, and with what `change` does to its files.
    """
    with tempfile.TemporaryDirectory(prefix="piker-next-") as directory:
        root = Path(directory, "root")
        subprocess.run(["dpkg-deb", "--raw-extract", package, root], check=True)
        version = _raise_version(root)
        change(root)
        _count_md5(root)
        made = target / re.sub(r"_.*_", f"_{version}_", package.name)
        _pack(root, made, "none")
    return made


def _raise_version(root: Path) -> str:
    """In what dpkg reads, and in what piker says of itself where it is; gives dpkg's."""
    control = root / "DEBIAN/control"
    found = re.search(r"^Version: ((\d+\.\d+\.)(\d+))(~.*)$", control.read_text(), re.MULTILINE)
    assert found, f"expected a version of piker as 0.1.0~deb12u1 in {control}"
    old, new, suffix = found[1], f"{found[2]}{int(found[3]) + 1}", found[4]
    _edit(control, f"\nVersion: {old}", f"\nVersion: {new}")
    if "\nPackage: piker\n" in f"\n{control.read_text()}":
        _raise_own(root, old, new)
        release = next(name for name, each in SUFFIXES.items() if each == suffix)
        Image(release).run(COMPILE, f"--bind={root}:/mnt")
    else:
        _edit(control, f"piker (= {old}", f"piker (= {new}")
    return f"{new}{suffix}"


def _raise_own(root: Path, old: str, new: str) -> None:
    """In what Python reads of piker; it is to be compiled then."""
    (packages,) = root.glob("usr/lib/piker/lib/python3.*/site-packages")
    notes = packages / f"piker-{old}.dist-info"
    notes = notes.rename(packages / f"piker-{new}.dist-info")
    _edit(notes / "METADATA", f"\nVersion: {old}", f"\nVersion: {new}")
    _edit(packages / "piker/__init__.py", f'"{old}"', f'"{new}"')


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"expected {old!r} in {path}"
    path.write_text(text.replace(old, new))


def _count_md5(root: Path) -> None:
    """What `dpkg --verify` compares files with; those in etc/ are dpkg's own affair."""
    lines = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  "
        f"{path.relative_to(root)}\n"
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
        if path.relative_to(root).parts[0] not in {"DEBIAN", "etc"}
    ]
    (root / "DEBIAN/md5sums").write_text("".join(lines))


@contextmanager
def _stage(image: Image) -> Iterator[Path]:
    """A directory with a copy of the sources in piker/, their version that of the release."""
    (BUILD / "packages").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".stage-", dir=BUILD / "packages") as directory:
        sources = Path(directory, "piker")
        for path in _inputs():
            copy = sources / path.relative_to(CHECKOUT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy, follow_symlinks=False)
        (sources / "wheels").mkdir()
        changelog = sources / "debian/changelog"
        suffix = SUFFIXES[image.release]
        newest = rf"piker (\1{suffix}) {image.release};"
        text = re.sub(r"^piker \((.*?)\) \w+;", newest, changelog.read_text(), count=1)
        changelog.write_text(text)
        yield Path(directory)


def _inputs() -> list[Path]:
    """The files that the package is made of."""
    found = [CHECKOUT / name for name in FILES]
    for source in SOURCES:
        for directory, below, names in os.walk(CHECKOUT / source):
            below[:] = [name for name in below if name not in LEFT_OUT]
            found += [Path(directory, name) for name in names]
    return sorted(found)


def _contents() -> str:
    """What is in these files, which have which names and modes."""
    parts = []
    for path in _inputs():
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        mode = path.lstat().st_mode
        parts.append(f"{path.relative_to(CHECKOUT)} {mode:o} {digest(content.hex())}")
    return "\n".join(parts)


def _forget(directory: Path, used: Path) -> None:
    """Remove packages, and what builds that were cut off left, that nobody used for long."""
    for path in directory.iterdir():
        if path != used and time.time() - path.stat().st_mtime > KEPT_S:
            shutil.rmtree(path)


def main() -> None:
    """Build them for one release and have lintian look at it, or make the next of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("release", choices=RELEASES)
    commands.add_parser("next").add_argument("package", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "next":
        print(next_version(arguments.package, arguments.package.parent))
    else:
        _build(arguments.release)


def _build(release: str) -> None:
    image = Image(release)
    image.prepare()
    package = Package.of(image)
    built = package.build(CHECKOUT / "dist")
    for each in built:
        print(f"{each.relative_to(CHECKOUT)}: {each.stat().st_size / 1e6:.1f} MB")
    try:
        package.lint(*built)
    except subprocess.CalledProcessError:
        sys.exit("lintian: not clean")
    print("lintian: clean")


if __name__ == "__main__":
    main()
