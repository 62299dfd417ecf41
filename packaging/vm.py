"""A virtual machine under test: Debian with its own kernel, in qemu, which emulates the processor.

`python packaging/vm.py bookworm` makes what needs the network, once, under build/. What a machine
does is a program in an archive that it is given as a second disk; what comes of it is written to a
second serial port. Nothing that it writes to its disk is kept.
"""

import argparse
import hashlib
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import nspawn
from deb import INSTALL
from image import BUILD, RELEASES, Image, cached, digest, locked

# A kernel that has drivers for virtual machines only, and what makes its first file system.
KERNEL = ("linux-image-cloud-amd64", "initramfs-tools")

# What the machine is there for, once it is up. The archive holds tests/ and packaging/ of the
# checkout; its program is tests/vm/inside, run by piker's own Python.
CHECKS = """\
[Unit]
Description=checks of this machine
After=multi-user.target
FailureAction=poweroff-force

[Service]
Type=exec
Environment=PYTHONPATH=/opt/vm:/opt/vm/packaging
ExecStartPre=/bin/mkdir -p /opt/vm
ExecStartPre=/bin/tar --extract --no-same-owner --file=/dev/vdb --directory=/opt/vm
ExecStart=/usr/lib/piker/bin/python -m tests.vm.inside /dev/ttyS1
StandardOutput=journal+console
"""
# Of all services of both managers: here, a daemon that is well may take as long.
PATIENCE = """\
[Service]
TimeoutStartSec=5min
TimeoutStopSec=5min
"""

ROOM = 2 << 30
"""Bytes of the disk that are free for what is written."""
MEMORY_MB = 2048
# Three boots on an emulated processor, which the tests of others may keep busy.
TIMEOUT_S = 60 * 60
BOOT = "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0"


@dataclass(frozen=True)
class Outcome:
    """What a machine wrote to its two serial ports."""

    results: str
    console: str


@dataclass(frozen=True)
class VirtualMachine:
    """Debian and its kernel, with a .deb of piker installed."""

    image: Image
    package: Path

    def prepare(self) -> None:
        """Make its disk, if this wasn't done with this package. Old ones are removed."""
        with locked(BUILD / "vm.lock"):
            cached(self._kept, self._make)
            for each in self._kept.parent.glob(f"{self.image.release}-*"):
                if each != self._kept:
                    shutil.rmtree(each)

    def run(self, archive: Path) -> Outcome:
        """Boot it with an archive as a second disk, and wait until it is powered off.

        One that isn't off after TIMEOUT_S is switched off: it then didn't write all that it should.
        """
        with tempfile.TemporaryDirectory(prefix="piker-vm-") as directory:
            results, console = Path(directory, "results"), Path(directory, "console")
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    self._command(archive, console, results),
                    # where -snapshot keeps what is written to the disks
                    env={"PATH": "/usr/bin", "TMPDIR": directory},
                    check=True,
                    stdin=subprocess.DEVNULL,
                    timeout=TIMEOUT_S,
                )
            return Outcome(results.read_text(), console.read_text(errors="replace"))

    @property
    def _root(self) -> Path:
        return self.image.root_with("vm", *KERNEL)

    @property
    def _kept(self) -> Path:
        with self.package.open("rb") as file:
            package = hashlib.file_digest(file, "sha256").hexdigest()
        name = digest(self._root.name, package, CHECKS, PATIENCE)
        return BUILD / "vm" / f"{self.image.release}-{name}"

    def _make(self, path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=".disk-", dir=path) as disk:
            bind = f"--bind-ro={self.package}:/mnt/piker.deb"
            self.image.run(INSTALL, bind, base=self._root, disk=Path(disk))
            upper = Path(disk, "upper")
            _enable(upper / "etc/systemd")
            _format(path / "disk", [upper, self._root])
        for kind in ("vmlinuz", "initrd.img"):
            (newest,) = self._root.glob(f"boot/{kind}-*")
            shutil.copy(newest, path / kind)

    def _command(self, archive: Path, console: Path, results: Path) -> list[str]:
        kept = self._kept
        return [
            *("setpriv", "--pdeathsig=KILL"),
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
            *("-m", str(MEMORY_MB), "-nic", "none", "-display", "none", "-snapshot"),
            *("-kernel", f"{kept}/vmlinuz", "-initrd", f"{kept}/initrd.img", "-append", BOOT),
            *("-drive", f"file={kept}/disk,format=raw,if=virtio"),
            *("-drive", f"file={archive},format=raw,if=virtio"),
            *("-serial", f"file:{console}", "-serial", f"file:{results}"),
        ]


def _enable(settings: Path) -> None:
    """Have it run at each boot, and nobody be impatient."""
    files = {"system/piker-checks.service": CHECKS}
    files |= {f"{each}/service.d/90-patience.conf": PATIENCE for each in ("system", "user")}
    for name, text in files.items():
        path = settings / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    wants = settings / "system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "piker-checks.service").symlink_to("../piker-checks.service")


def _format(disk: Path, layers: list[Path]) -> None:
    """Make a file system of these layers, the topmost first."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="piker-vm-"))) / "root"
        namespace = stack.enter_context(nspawn.mounts(root, layers))
        enter = ["nsenter", f"--target={namespace}", "--mount", "--wdns=/"]
        used = subprocess.run(
            [*enter, "du", "--summarize", "--block-size=1", root],
            check=True,
            capture_output=True,
            text=True,
        )
        size_kib = (int(used.stdout.split()[0]) + ROOM) // 1024
        make = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk), f"{size_kib}k"]
        subprocess.run([*enter, *make], check=True)


def main() -> None:
    """Make what a machine of one release boots from, but for the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", help="a Debian release, by its code name", choices=RELEASES)
    Image(parser.parse_args().release).root_with("vm", *KERNEL)


if __name__ == "__main__":
    main()
