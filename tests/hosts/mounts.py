"""What can be mounted on a host. Each returns how, and skips the test where Debian's package is not there."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.host import Host, Mounting

_SFTP_SERVER = "/usr/lib/openssh/sftp-server"
_DEBIAN_PYTHON = "/usr/bin/python3"


def _need(program: str, package: str) -> str:
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        pytest.skip(f"needs {program} (Debian: {package})")
    return found


def sshfs(share: Path, point: Path, *options: str, forbidden: str = "") -> Mounting:
    """A share over SFTP, without a network between: each mount is one client with one server process of its own.

    Args:
        share: the folder that the server serves.
        point: where.
        options: of sshfs.
        forbidden: requests that the server does not know, such as "hardlink,posix-rename".
    """
    _need("sshfs", "sshfs")
    server = [_need(_SFTP_SERVER, "openssh-sftp-server"), *(["-P", forbidden] if forbidden else [])]
    chosen = [word for option in options for word in ("-o", option)]
    return Mounting(["sshfs", f"host:{share}", str(point), "-f", "-o", "passive", *chosen], point, serves=server)


def lowntfs(image: Path, point: Path, *options: str) -> Mounting:
    """NTFS that takes names for equal that differ in case, as Windows does."""
    _need("lowntfs-3g", "ntfs-3g")
    _make_image(image, "mkntfs", "-F", "-Q", str(image))
    chosen = ",".join(("no_detach", "ignore_case", *options))
    return Mounting(["lowntfs-3g", "-o", chosen, str(image), str(point)], point)


def rclone(share: Path, point: Path, *options: str) -> Mounting:
    """Inode numbers come from names, so that a rename gives another."""
    _need("rclone", "rclone")
    cache = point.with_name(f"{point.name}-cache")
    base = ["rclone", "mount", f":local:{share}", str(point), "--config", "/dev/null", "--cache-dir", str(cache)]
    return Mounting([*base, *options], point)


def mergerfs(branches: Sequence[Path], point: Path, *options: str) -> Mounting:
    _need("mergerfs", "mergerfs")
    chosen = ",".join(("category.create=mfs", *options))
    return Mounting(["mergerfs", "-f", "-o", chosen, ":".join(map(str, branches)), str(point)], point)


def bindfs(share: Path, point: Path, *options: str) -> Mounting:
    _need("bindfs", "bindfs")
    return Mounting(["bindfs", "-f", *options, str(share), str(point)], point)


def overlay(folder: Path, point: Path) -> Mounting:
    """As containers without root have it."""
    _need("fuse-overlayfs", "fuse-overlayfs")
    for name in ("lower", "upper", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    return Mounting(["fuse-overlayfs", "-f", "-o", layers, str(point)], point)


def odd(share: Path, point: Path, **how: Any) -> Mounting:
    """See `odd_fs`."""
    script = Path(__file__).with_name("odd_fs.py")
    if subprocess.run(
        [_need(_DEBIAN_PYTHON, "python3"), "-c", "import fusepy"], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs fusepy for Debian's Python (Debian: python3-fusepy)")
    work = {"backing": str(share), "mount": str(point), **how}
    return Mounting([_DEBIAN_PYTHON, str(script), json.dumps(work)], point)


def _make_image(image: Path, *make: str, size: int = 256 << 20) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(make, check=True, capture_output=True)


def exfat(image: Path, point: Path, host: Host) -> Mounting:
    """No hard links, and names equal that differ in case. It wants a block device: of one that goes with its daemon."""
    _need("mount.exfat-fuse", "exfat-fuse")
    _make_image(image, _need("mkfs.exfat", "exfatprogs"), str(image))
    loop = host.run("losetup", "--find", "--show", str(image)).strip()
    # Detached while it is open, it is released with its last user, be that killed.
    return Mounting(["mount.exfat-fuse", "-d", loop, str(point)], point, after=["losetup", "--detach", loop])
