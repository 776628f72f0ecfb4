"""The guests' root file system: Debian 12 as on a plain EC2 host."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from testhosts.command import run
from testhosts.machine import SUITES, Machine

GUEST_FILES = Path(__file__).with_name("guest")
_BOOTSTRAP_LIMIT_S = 1800.0
_STEP_LIMIT_S = 300.0
# What Debian's cloud image has and an operator may count on, plus nfs-common.
_PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "netbase",
    "nfs-common",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
    "udev",
)
_ENABLED = {
    "sysinit.target.wants": "/etc/systemd/system/testhosts-network.service",
    "multi-user.target.wants": "/lib/systemd/system/systemd-networkd.service",
    "network-online.target.wants": "/lib/systemd/system/systemd-networkd-wait-online.service",
}
# Consoles that nobody sits at, and background work that would make test times vary.
_MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-binfmt.service",
)


def bootstrap(root: Path, machine: Machine, packages: Path) -> None:
    """Unpack and configure Debian 12 into ``root``; ``.deb`` files are kept in ``packages``."""
    kept = packages / SUITES[0]
    kept.mkdir(parents=True, exist_ok=True)
    settings = root.with_name("apt.conf")
    settings.write_text("".join(f"{line}\n" for line in machine.apt), encoding="utf-8")
    dpkg_options = (GUEST_FILES / "etc/dpkg/dpkg.cfg.d/testhosts").read_text(encoding="utf-8")
    argv = [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--include=" + ",".join(_PACKAGES),
        f"--aptopt={settings}",
        '--aptopt=Acquire::Languages "none"',
        *(f"--dpkgopt={line}" for line in dpkg_options.splitlines() if not line.startswith("#")),
        # Lists stay, so that `apt-get update` in a guest finds them fresh and fetches nothing.
        "--skip=essential/unlink,cleanup/apt/lists",
        '--setup-hook=mkdir -p "$1"/var/cache/apt/archives',
        f"--setup-hook=sync-in {shlex.quote(str(kept))} /var/cache/apt/archives/",
        f"--customize-hook=sync-out /var/cache/apt/archives {shlex.quote(str(kept))}",
        SUITES[0],
        str(root),
        *machine.apt_source_lines(),
    ]
    run(argv, timeout_s=_BOOTSTRAP_LIMIT_S, extra_environment=machine.proxies)
    settings.unlink()


def prepare(root: Path, machine: Machine, public_key: str) -> None:
    """Make the tree a host: our files, this machine's settings, the user ``admin``, our units."""
    for leftover in (
        root / "etc/apt/apt.conf.d/99mmdebstrap",
        root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    ):
        leftover.unlink(missing_ok=True)
    _copy_guest_files(root)
    _take_over(root, machine)
    _add_admin(root, public_key)
    _choose_units(root)
    (root / "etc/fstab").write_text("", encoding="ascii")
    (root / "etc/machine-id").write_text("", encoding="ascii")  # each host makes its own
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (root / "var/log/journal").mkdir(exist_ok=True)
    shutil.rmtree(root / "var/cache/apt/archives")
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    # apt's binary cache of the lists: building it takes a guest several seconds.
    run(["chroot", str(root), "apt-cache", "gencaches"], timeout_s=_STEP_LIMIT_S)


def _copy_guest_files(root: Path) -> None:
    for source in sorted(GUEST_FILES.rglob("*")):
        target = root / source.relative_to(GUEST_FILES)
        if source.is_dir():
            target.mkdir(exist_ok=True)
            continue
        shutil.copyfile(source, target)
        # Not the checkout's modes: they depend on the umask of whoever cloned it.
        target.chmod(0o755 if target.parent.name == "sbin" else 0o644)
    (root / "etc/sudoers.d/90-admin").chmod(0o440)


def _take_over(root: Path, machine: Machine) -> None:
    """Write this machine's way to the outside into the guest."""
    sources = "".join(f"{line}\n" for line in machine.apt_source_lines())
    (root / "etc/apt/sources.list").write_text(sources, encoding="utf-8")
    apt = "".join(f"{line}\n" for line in machine.apt)
    (root / "etc/apt/apt.conf.d/95machine").write_text(apt, encoding="utf-8")
    certificates = root / "usr/local/share/ca-certificates"
    certificates.mkdir(parents=True, exist_ok=True)
    for name, content in machine.certificates.items():
        (certificates / name).write_bytes(content)
    run(["chroot", str(root), "update-ca-certificates"], timeout_s=_STEP_LIMIT_S)
    (root / "etc/pip.conf").write_text(pip_conf(machine.pip), encoding="utf-8")
    proxies = "".join(f"{name}={value}\n" for name, value in machine.proxies.items())
    (root / "etc/environment").write_text(proxies, encoding="utf-8")


def pip_conf(settings: Mapping[str, str]) -> str:
    """Return a guest's ``pip.conf``: it trusts what the guest trusts."""
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


def _add_admin(root: Path, public_key: str) -> None:
    chroot = ["chroot", str(root)]
    add = ["useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo,adm", "admin"]
    run([*chroot, *add], timeout_s=_STEP_LIMIT_S)
    keys = root / "home/admin/.ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700)
    keys.write_text(public_key, encoding="ascii")
    keys.chmod(0o600)
    run([*chroot, "chown", "-R", "admin:admin", "/home/admin/.ssh"], timeout_s=_STEP_LIMIT_S)


def _choose_units(root: Path) -> None:
    units = root / "etc/systemd/system"
    for wants, unit in _ENABLED.items():
        (units / wants).mkdir(exist_ok=True)
        link = units / wants / Path(unit).name
        link.unlink(missing_ok=True)
        link.symlink_to(unit)
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    default = units / "default.target"
    default.unlink(missing_ok=True)
    default.symlink_to("/lib/systemd/system/multi-user.target")
