"""Root filesystems: a minimal Debian to test on, and one more that the package is built in.

`python packaging/image.py bookworm` makes what needs the network, once, under build/: both of
them, and the wheels of what piker runs with. Later runs find them there by what determines them.
"""

import argparse
import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import nspawn

CHECKOUT = Path(__file__).resolve().parent.parent
BUILD = CHECKOUT / "build"
LOCKS = CHECKOUT / "packaging" / "requirements"
RELEASES = ("bookworm", "trixie")

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What the package depends on or recommends, and what boots.
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "polkitd"),
    *("python3", "libstdc++6", "tzdata", "passwd"),
)
# debian/control's Build-Depends, and what tests the package.
BUILD_PACKAGES = (
    *("build-essential", "debhelper", "pkg-config", "libsystemd-dev", "bash-completion"),
    *("python3-dev", "python3-pip", "python3-venv", "scdoc", "mandoc"),
    *("lintian", "autopkgtest", "ca-certificates"),
)
# Where systemd says which directories are its own.
OF_RELEASE = {"bookworm": (), "trixie": ("systemd-dev",)}

# What the units of piker need, and nothing that delays `running`. $1 is the root filesystem.
# The journal is persistent, since only then is a user's apart from the system's. What dpkg left
# out is out; of piker's package it installs all.
CUSTOMIZE = """
set -e
chroot "$1" useradd --uid 1000 --create-home --shell /bin/sh trader
mkdir -p "$1/var/lib/systemd/linger" "$1/var/log/journal"
touch "$1/var/lib/systemd/linger/trader"
rm -f "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
: >"$1/etc/machine-id"
SYSTEMD_LOG_LEVEL=warning systemd-machine-id-setup --root="$1"
systemctl --quiet --root="$1" mask getty.target console-getty.service \
    dpkg-db-backup.timer fstrim.timer systemd-tmpfiles-clean.timer \
    apt-daily.timer apt-daily-upgrade.timer
"""

# With that release's own Python. What builds is pinned as well: nothing but these files is used.
# Each lock says what run.txt does in the same lines: what is left is what polars adds.
COLLECT = """
export HOME=/tmp
python3 -m pip install --quiet --no-deps --require-hashes --target=/tmp/tools \
    --requirement=/mnt/locks/build.txt --requirement=/mnt/locks/native.txt
python3 -m pip wheel --quiet --no-deps --require-hashes --wheel-dir=/mnt/wheels/build \
    --requirement=/mnt/locks/build.txt
PYTHONPATH=/tmp/tools python3 -m pip wheel --quiet --no-deps --no-build-isolation \
    --require-hashes --wheel-dir=/mnt/wheels/run --requirement=/mnt/locks/systemd.txt
grep -vxFf /mnt/locks/systemd.txt /mnt/locks/history.txt >/tmp/history.txt
python3 -m pip wheel --quiet --no-deps --require-hashes --wheel-dir=/mnt/wheels/history \
    --requirement=/tmp/history.txt
"""

SURROUNDINGS = ("SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy")
"""What else says how the network is reached from here."""


@dataclass(frozen=True)
class Image:
    """What is kept for one Debian release."""

    release: str

    @property
    def root(self) -> Path:
        """The root filesystem that boots; read-only for all who use it."""
        return self._at("root", PACKAGES)

    @property
    def build_root(self) -> Path:
        """The same and what builds and tests the package."""
        return self._at("build", self._build_packages)

    @property
    def wheels(self) -> Path:
        """Wheels: in run/ what piker runs with, in history/ what else keeps history on disk, in
        build/ what builds piker's."""
        locks = [path.read_text() for path in _locks()]
        return BUILD / "wheels" / f"{self.release}-{digest(COLLECT, *locks)}"

    @property
    def ready(self) -> bool:
        """Whether everything is there that needs the network to be made."""
        return all(path.is_dir() for path in (self.root, self.build_root, self.wheels))

    def prepare(self) -> None:
        """Make what is missing."""
        with locked(BUILD / "images.lock"):
            cached(self.root, lambda path: _debootstrap(self.release, PACKAGES, path))
            packages = self._build_packages
            cached(self.build_root, lambda path: _debootstrap(self.release, packages, path))
            cached(self.wheels, self._collect)

    def root_with(self, kind: str, *packages: str) -> Path:
        """A root filesystem that boots and has these packages as well, made if it is missing."""
        root = self._at(kind, (*PACKAGES, *packages))
        with locked(BUILD / "images.lock"):
            cached(root, lambda path: _debootstrap(self.release, (*PACKAGES, *packages), path))
        return root

    def run(
        self,
        script: str,
        *options: str,
        base: Path | None = None,
        disk: Path | None = None,
        online: Mapping[str, str] | None = None,
    ) -> None:
        """Run a shell script in the build root or another one, which stays as it is.

        What it writes is gone afterwards, or is in `disk`/upper. `online` is the environment of
        one that needs the network.
        """
        name = f"piker-build-{os.getpid()}"
        environment = dict(online or {})
        with ExitStack() as stack:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=name))) / "root"
            groups = stack.enter_context(nspawn.control_groups(name))
            mounted = nspawn.mounts(root, [base or self.build_root], disk)
            namespace = stack.enter_context(mounted)
            own = [f"--directory={root}", f"--machine={name}", "--as-pid2", *options]
            own += nspawn.OFFLINE if online is None else nspawn.ONLINE
            # by name, so that no value stands in an argument
            own += [f"--setenv={each}" for each in environment]
            subprocess.run(
                nspawn.command(groups, namespace, [*own, "sh", "-ec", script]),
                env=nspawn.environment(environment),
                check=True,
                stdin=subprocess.DEVNULL,
            )

    @property
    def _build_packages(self) -> tuple[str, ...]:
        return (*PACKAGES, *BUILD_PACKAGES, *OF_RELEASE[self.release])

    def _at(self, kind: str, packages: Sequence[str]) -> Path:
        return BUILD / "images" / f"{self.release}-{kind}-{digest(CUSTOMIZE, *packages)}"

    def _collect(self, path: Path) -> None:
        settings = _network_settings()
        paths = {str(found) for value in settings.values() for found in _paths(value)}
        binds = [f"--bind-ro={each}" for each in sorted({*paths, "/etc/ssl/certs", "/etc/hosts"})]
        binds += [f"--bind={path}:/mnt/wheels", f"--bind-ro={LOCKS}:/mnt/locks"]
        self.run(COLLECT, *binds, online=settings)


def cached(path: Path, make: Callable[[Path], None]) -> None:
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
def locked(path: Path) -> Iterator[None]:
    """Alone among those that name the same lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(*determinants: str) -> str:
    """A short name for what is determined by these."""
    return hashlib.sha256("\0".join(determinants).encode()).hexdigest()[:12]


def _locks() -> list[Path]:
    return [LOCKS / f"{name}.txt" for name in ("systemd", "history", "build", "native")]


def _network_settings() -> dict[str, str]:
    """The host's settings of pip, wherever they stand, as an environment for one elsewhere."""
    settings = {each: os.environ[each] for each in SURROUNDINGS if each in os.environ}
    for line in _output(sys.executable, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].replace("-", "_").upper()
        settings[f"PIP_{name}"] = str(literal_eval(value))
    return settings


def _paths(value: str) -> list[Path]:
    """The files and directories of this host that a setting names.

    The pages of an index in files lead to what lies beside it.
    """
    words = value.split()
    named = [Path(word) for word in words]
    named += [Path(word.removeprefix("file://")).parent for word in words if ":" in word]
    return [path for path in named if path.is_absolute() and path.exists()]


def _debootstrap(release: str, packages: Sequence[str], path: Path) -> None:
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=essential"),
            *(f"--include={','.join(packages)}", f"--customize-hook={CUSTOMIZE.strip()}"),
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


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Make what builds the package for one release, and what tests on it need."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", help="a Debian release, by its code name", choices=RELEASES)
    Image(parser.parse_args().release).prepare()


if __name__ == "__main__":
    main()
