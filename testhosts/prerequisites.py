"""Debian packages that testhosts needs on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from testhosts.command import require_root, run

# Packages, each with its purpose.
PACKAGES = {
    "ca-certificates": "HTTPS mirrors",
    "debian-archive-keyring": "keys of Debian's packages",
    "e2fsprogs": "mkfs.ext4 for the image",
    "iproute2": "bridge and tap devices",
    "iptables": "NAT",
    "kmod": "depmod for the kernel of the guests",
    "mmdebstrap": "root file system of the guests",
    "nfs-ganesha": "the NFS server that replaces EFS",
    "nfs-ganesha-vfs": "its backend for a plain directory",
    "openssh-client": "ssh and ssh-keygen",
    "util-linux": "unshare and setpriv for the kernel of the guests",
}
_SYSTEMD = Path("/run/systemd/system")
_QUERY_LIMIT_S = 60.0
_INSTALL_LIMIT_S = 1200.0


def missing() -> list[str]:
    """Return the packages that are not installed."""
    form = "${Package} ${db:Status-Status}\n"
    done = run(["dpkg-query", "-W", "-f", form, *PACKAGES], timeout_s=_QUERY_LIMIT_S, check=False)
    installed = {
        line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")
    }
    return [name for name in PACKAGES if name not in installed]


def install(progress: Callable[[str], None]) -> None:
    """Install the missing packages.

    Raises:
        CommandError: apt failed.
    """
    wanted = missing()
    if not wanted:
        progress("prerequisites: all are installed")
        return
    require_root()
    progress(f"prerequisites: installing {', '.join(wanted)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-q", "update"], timeout_s=_INSTALL_LIMIT_S, extra_environment=quiet)
    argv = ["apt-get", "-q", "install", "-y", "--no-install-recommends", *wanted]
    run(argv, timeout_s=_INSTALL_LIMIT_S, extra_environment=quiet)
    if "nfs-ganesha" in wanted and _SYSTEMD.exists():
        # Debian's unit listens on every address; testhosts runs its own server on the host network.
        stop = ["systemctl", "disable", "--now", "nfs-ganesha.service"]
        run(stop, timeout_s=_QUERY_LIMIT_S, check=False)
    progress("prerequisites: installed")
