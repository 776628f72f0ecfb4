"""The guest's kernel: Debian sid's ``user-mode-linux``, unpacked with its libraries.

sid's, because running without ptrace (``seccomp=on``) needs a kernel newer than Debian 12's. It is
fetched with an apt state of its own: nothing is installed on this machine, and its package lists
stay as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from testhosts.command import run
from testhosts.errors import TestHostError

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PACKAGES = ("user-mode-linux", "libc6", "libgcc-s1")
_UPDATE_LIMIT_S = 300.0
_DOWNLOAD_LIMIT_S = 900.0
_UNPACK_LIMIT_S = 120.0
_MODULES = Path("usr/lib/uml/modules")
# Parts of the module tree that a server in a test host may ask for; the rest is drivers.
_KEPT_MODULES = (
    "arch",
    "crypto",
    "drivers/block/loop.ko",
    "drivers/net/dummy.ko",
    "drivers/net/tun.ko",
    "drivers/net/veth.ko",
    "fs/autofs",
    "fs/binfmt_misc.ko",
    "fs/configfs",
    "fs/fuse",
    "fs/lockd",
    "fs/netfs",
    "fs/nfs",
    "fs/nfs_common",
    "fs/overlayfs",
    "kernel",
    "lib",
    "net/bridge",
    "net/core",
    "net/dns_resolver",
    "net/ipv4",
    "net/ipv6",
    "net/netfilter",
    "net/packet",
    "net/sched",
    "net/sunrpc",
    "net/unix",
    "security",
)


def _apt_options(private: Path, site: str) -> list[str]:
    """Make an empty apt state whose only source is sid; return the options that select it."""
    (private / "lists/partial").mkdir(parents=True, exist_ok=True)
    (private / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    (private / "status").write_text("", encoding="ascii")
    sources = private / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {site} sid main\n", encoding="utf-8")
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::lists": private / "lists",
        "Dir::State::status": private / "status",
        "Dir::Cache": private / "cache",
        # apt would drop to its own user, which may not write below the checkout.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def download(packages: Path, site: str) -> list[Path]:
    """Fetch sid's newest kernel package and its libraries into ``packages``; return the files.

    A file that is there already is not fetched again.
    """
    options = _apt_options(packages / "sid", site)
    run(["apt-get", *options, "-qq", "update"], timeout_s=_UPDATE_LIMIT_S)
    listed = run(
        ["apt-get", *options, "-qq", "--print-uris", "download", *_PACKAGES],
        timeout_s=_UPDATE_LIMIT_S,
    )
    run(
        ["apt-get", *options, "-qq", "download", *_PACKAGES],
        timeout_s=_DOWNLOAD_LIMIT_S,
        cwd=packages,
    )
    return [packages / line.split()[1] for line in listed.stdout.splitlines()]


def unpack(files: Sequence[Path], root: Path) -> None:
    """Unpack the packages into ``root``, with the places that ``enter_kernel.sh`` mounts on."""
    root.mkdir()
    for file in files:
        run(["dpkg-deb", "-x", str(file), str(root)], timeout_s=_UNPACK_LIMIT_S)
    for link in ("lib", "lib64"):
        if not (root / link).exists():
            (root / link).symlink_to(f"usr/{link}")
    for place in ("proc", "dev", "state"):
        (root / place).mkdir()
    shutil.rmtree(root / "usr/share")
    if not (root / "usr/bin/linux.uml").exists():
        raise TestHostError(
            "Debian's user-mode-linux package holds no usr/bin/linux.uml.",
            fix="look where it went (`dpkg-deb -c`) and correct testhosts/kernel.py.",
        )


def install_modules(kernel_root: Path, guest_root: Path) -> str:
    """Move the kernel's modules that a guest may need into its file system; return the release."""
    (tree,) = (kernel_root / _MODULES).iterdir()
    target = guest_root / "lib/modules" / tree.name
    target.mkdir(parents=True)
    for index in tree.glob("modules.*"):
        shutil.copy2(index, target)
    for part in _KEPT_MODULES:
        source = tree / "kernel" / part
        if source.is_dir():
            shutil.copytree(source, target / "kernel" / part)
        elif source.exists():
            (target / "kernel" / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / "kernel" / part)
    shutil.rmtree(kernel_root / _MODULES)
    run(["depmod", "-b", str(guest_root), tree.name], timeout_s=_UNPACK_LIMIT_S)
    return tree.name
