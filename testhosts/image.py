"""The image of all hosts: a kernel and a root file system, named by the digest of its inputs."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path

from testhosts import kernel, machine, rootfs
from testhosts.command import require, require_root, run
from testhosts.locks import lock
from testhosts.machine import Machine
from testhosts.state import ImageFiles, State

DISK_GIB = 8
_BUILD_LIMIT_S = 3600.0
_MKFS_LIMIT_S = 300.0
_KEYGEN_LIMIT_S = 30.0
_PROGRAMS = ("mmdebstrap", "mkfs.ext4", "depmod", "dpkg-deb", "apt-get", "ssh-keygen", "truncate")


def ensure_key(state: State) -> str:
    """Create the ssh key of the hosts if it does not exist; return the public key."""
    state.directory.mkdir(parents=True, exist_ok=True)
    with lock(state.locks / "key", what="the ssh key", timeout_s=_KEYGEN_LIMIT_S):
        if not state.ssh_key.exists():
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testhosts"]
            run([*argv, "-f", str(state.ssh_key)], timeout_s=_KEYGEN_LIMIT_S)
    return state.ssh_key.with_suffix(".pub").read_text(encoding="ascii")


def digest(settings: Machine, public_key: str) -> str:
    """Return the digest of these inputs and of the code that builds the image."""
    code = [Path(module.__file__ or "") for module in (kernel, rootfs, machine)]
    guest = [file for file in sorted(rootfs.GUEST_FILES.rglob("*")) if file.is_file()]
    here = Path(__file__).parent
    parts = {
        "files": {
            str(file.relative_to(here)): _sha256(file.read_bytes()) for file in (*code, *guest)
        },
        "sources": settings.apt_source_lines(),
        "apt": settings.apt,
        "pip": dict(settings.pip),
        "proxies": dict(settings.proxies),
        "certificates": {name: _sha256(content) for name, content in settings.certificates.items()},
        "key": public_key,
        "disk": DISK_GIB,
    }
    return _sha256(json.dumps(parts, sort_keys=True).encode())[:16]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def ensure(
    state: State, used: Callable[[], Collection[str]], progress: Callable[[str], None]
) -> str:
    """Build the image unless it exists; return its digest.

    After a build, images that no host uses (see ``used``) are removed.
    """
    require_root()
    require(*_PROGRAMS)
    public_key = ensure_key(state)
    settings = machine.read()
    name = digest(settings, public_key)
    with lock(state.locks / "image", what="the image", timeout_s=_BUILD_LIMIT_S):
        if state.image(name).disk.exists():
            return name
        _build(state, name, settings, public_key, progress)
        for old in state.images.iterdir():
            if old.name not in {name, *used()}:
                shutil.rmtree(old)
    return name


def _build(
    state: State, name: str, settings: Machine, public_key: str, progress: Callable[[str], None]
) -> None:
    """Build the image under a temporary name, and rename it at the end."""
    began = time.monotonic()

    def step(text: str) -> None:
        progress(f"image: {text} ({time.monotonic() - began:.0f} s)")

    building = ImageFiles(state.images / f"{name}.new")
    shutil.rmtree(building.directory, ignore_errors=True)
    building.directory.mkdir(parents=True)
    state.packages.mkdir(exist_ok=True)
    guest_root = building.directory / "root"
    step("fetching the kernel, user-mode-linux from Debian sid")
    files = kernel.download(state.packages, settings.sources[machine.SUITES[0]])
    kernel.unpack(files, building.kernel_root)
    step("installing Debian 12 into a directory (the longest step)")
    rootfs.bootstrap(guest_root, settings, state.packages)
    step("configuring user, network and package sources")
    rootfs.prepare(guest_root, settings, public_key)
    release = kernel.install_modules(building.kernel_root, guest_root)
    step(f"creating a file system of {DISK_GIB} GiB")
    run(["truncate", "-s", f"{DISK_GIB}G", str(building.disk)], timeout_s=_MKFS_LIMIT_S)
    argv = ["mkfs.ext4", "-q", "-F", "-m", "0", "-L", "root", "-d", str(guest_root)]
    run([*argv, str(building.disk)], timeout_s=_MKFS_LIMIT_S)
    shutil.rmtree(guest_root)
    building.directory.rename(state.image(name).directory)
    step(f"done: kernel {release}, {_size_mib(state.image(name).disk)} MiB")


def _size_mib(file: Path) -> int:
    return file.stat().st_blocks * 512 // 2**20
