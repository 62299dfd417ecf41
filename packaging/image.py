"""Root filesystems to test on: a minimal Debian, and piker with its libraries as layers over it.

`python packaging/image.py bookworm` makes what needs the network, once, under build/: the image,
the wheels and the layer of libraries. Later runs find them there by what determines them.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nspawn

CHECKOUT = Path(__file__).resolve().parent.parent
BUILD = CHECKOUT / "build"
LOCKS = CHECKOUT / "packaging" / "requirements"

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# libstdc++6 is what the wheels of numpy and rapidfuzz take from the system; tzdata says when a
# trading day ends.
PACKAGES = "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,python3,libstdc++6,tzdata"

# What the units of piker need, and nothing that delays `running`. $1 is the root filesystem.
# The journal is persistent, since only then is a user's apart from the system's.
CUSTOMIZE = """
chroot "$1" useradd --uid 1000 --create-home --shell /bin/sh trader
mkdir -p "$1/var/lib/systemd/linger" "$1/var/log/journal" "$1/usr/lib/piker"
touch "$1/var/lib/systemd/linger/trader"
: >"$1/etc/machine-id"
SYSTEMD_LOG_LEVEL=warning systemd-machine-id-setup --root="$1"
systemctl --quiet --root="$1" mask getty.target console-getty.service \
    dpkg-db-backup.timer fstrim.timer systemd-tmpfiles-clean.timer
"""

# Installs the wheels of /mnt into /usr/lib/piker with the image's Python; /media has pip's own.
INSTALL = """
python3 -m venv --without-pip /usr/lib/piker
PYTHONPATH=$(echo /media/pip-*.whl) PYTHONDONTWRITEBYTECODE=1 /usr/lib/piker/bin/python -m pip \
    install --quiet --no-deps --no-index --no-cache-dir --root-user-action=ignore /mnt/*.whl
"""


@dataclass(frozen=True)
class Image:
    """What is kept for one Debian release."""

    release: str

    @property
    def root(self) -> Path:
        """The root filesystem; read-only for all who use it."""
        return BUILD / "images" / f"{self.release}-{_digest(PACKAGES, CUSTOMIZE)}"

    @property
    def wheels(self) -> Path:
        """Wheels: in run/ what piker runs with, in build/ what installs and builds piker."""
        return BUILD / "wheels" / _digest(_lock().read_text(), platform.python_version())

    @property
    def libraries(self) -> Path:
        """The layer with what piker runs with."""
        return self.root.with_name(f"{self.root.name}-{_digest(self.wheels.name, INSTALL)}")

    @property
    def ready(self) -> bool:
        """Whether everything is there that needs the network to be made."""
        return self.root.is_dir() and self.wheels.is_dir() and self.libraries.is_dir()

    def prepare(self) -> None:
        """Make what is missing."""
        with _locked(BUILD / "images.lock"):
            _cached(self.root, lambda path: _debootstrap(self.release, path))
            _cached(self.wheels, self._collect)
            _cached(self.libraries, lambda path: self._install(self.wheels / "run", path))

    def install_piker(self, layer: Path) -> None:
        """Fill an empty directory with piker and its units, as the checkout has them now."""
        with tempfile.TemporaryDirectory() as wheel:
            _pip_wheel(
                *("--no-deps", "--no-build-isolation", "--wheel-dir", wheel, str(CHECKOUT)),
            )
            self._install(Path(wheel), layer)
        _install_units(layer)

    def _collect(self, path: Path) -> None:
        _expect_same_python(self.root)
        _pip_wheel("--wheel-dir", str(path / "run"), "--require-hashes", "-r", str(_lock()))
        _pip_wheel("--wheel-dir", str(path / "build"), "pip")

    def _install(self, wheels: Path, layer: Path) -> None:
        piker = layer / "usr/lib/piker"
        piker.mkdir(parents=True)
        binds = [f"--bind={piker}:/usr/lib/piker", f"--bind-ro={wheels}:/mnt"]
        tools = f"--bind-ro={self.wheels / 'build'}:/media"
        run_inside(self.root, INSTALL, *binds, tools)


def run_inside(root: Path, script: str, *options: str) -> None:
    """Run a shell script in a root filesystem that stays as it is, without network."""
    name = f"piker-build-{os.getpid()}"
    own = [f"--machine={name}", f"--directory={root}", "--read-only", *options]
    with nspawn.control_groups(name) as groups:
        subprocess.run(
            nspawn.command(groups, [], [*own, "sh", "-ec", script]),
            check=True,
            stdin=subprocess.DEVNULL,
        )


def _debootstrap(release: str, path: Path) -> None:
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=essential"),
            *(f"--include={PACKAGES}", f"--customize-hook={CUSTOMIZE.strip()}"),
            *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "locale", "man")),
            *(f"--keyring={KEYRING}", *_proxies(), release, str(path), *_sources(release)),
        ],
        check=True,
    )


def _sources(release: str) -> list[str]:
    """Where packages of a release come from: the host's own mirrors, asked for that release.

    apt names its sources only when it has their lists.
    """
    subprocess.run(["apt-get", "update", "-qq"], check=False)
    host = platform.freedesktop_os_release()["VERSION_CODENAME"]
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = _output("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    sources = []
    for target in targets.splitlines():
        uri, suite, component = target.split()
        if suite in {host, f"{host}-security"} and component == "main":
            sources.append(f"deb {uri} {suite.replace(host, release)} main")
    return sorted(set(sources))


def _proxies() -> list[str]:
    """The host's proxy, if it has one, as options."""
    settings = _output("apt-config", "dump", "--format", "%f %v%n", "Acquire").splitlines()
    pairs = [setting.partition(" ") for setting in settings]
    return [
        f'--aptopt={key} "{value}"'
        for key, _, value in pairs
        if key in {"Acquire::http::Proxy", "Acquire::https::Proxy"} and value
    ]


def _lock() -> Path:
    """The lock file of what piker runs with: with pystemd, where it could be built."""
    return LOCKS / ("systemd.txt" if importlib.util.find_spec("pystemd") else "run.txt")


def _expect_same_python(root: Path) -> None:
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not (root / "usr/bin" / ours).exists():
        raise SystemExit(f"image: wheels are made by {ours}, which {root.name} doesn't have")


def _pip_wheel(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", *arguments], check=True)


def _install_units(layer: Path) -> None:
    """Units and their drop-ins where the package puts them."""
    for manager in ("user", "system"):
        target = layer / "usr/lib/systemd" / manager
        subprocess.run([CHECKOUT / "packaging/install-units", manager, target], check=True)


def _cached(path: Path, make: Callable[[Path], None]) -> None:
    """Make a directory that is missing, whole or not at all."""
    if path.is_dir():
        return
    print(f"image: making {path.relative_to(CHECKOUT)}", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as temporary:
        new = Path(temporary) / path.name
        new.mkdir()
        make(new)
        new.rename(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(*determinants: str) -> str:
    return hashlib.sha256("\0".join(determinants).encode()).hexdigest()[:12]


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Make what tests on one release need."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", help="a Debian release, by its code name: bookworm")
    Image(parser.parse_args().release).prepare()


if __name__ == "__main__":
    main()
