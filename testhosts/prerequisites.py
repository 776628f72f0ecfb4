"""Debian packages that the tool needs on the machine it runs on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from testhosts.command import require_root, run

# package: why it is needed
PACKAGES = {
    "ca-certificates": "HTTPS mirrors",
    "debian-archive-keyring": "trust in Debian's packages",
    "e2fsprogs": "mkfs.ext4 makes the image",
    "iproute2": "bridge and taps",
    "iptables": "NAT",
    "kmod": "depmod for the guest's kernel",
    "mmdebstrap": "the guest's root file system",
    "nfs-ganesha": "the NFS server that stands for EFS",
    "nfs-ganesha-vfs": "its access to a plain directory",
    "openssh-client": "ssh and its key",
    "util-linux": "unshare and setpriv start the guest's kernel",
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
    """Install what is missing, and nothing else.

    Raises:
        CommandError: apt could not.
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
        # Debian starts it on every address; the tool runs its own, on the hosts' network alone.
        stop = ["systemctl", "disable", "--now", "nfs-ganesha.service"]
        run(stop, timeout_s=_QUERY_LIMIT_S, check=False)
    progress("prerequisites: installed")
