"""The command line of the test hosts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mms_server.core.errors import MMSError
from testhosts import prerequisites
from testhosts.errors import InputError
from testhosts.host import BOOT_LIMIT_S, Host
from testhosts.lab import Lab

ROOT = Path(__file__).resolve().parent.parent
EXIT_FAILED = 1


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(
        prog="python -m testhosts",
        description="Local test hosts: Debian 12 with its own kernel, as User-Mode Linux.",
        epilog="Exit codes: 0 success (or nothing to do), 1 failure, 2 invalid input.",
    )
    top.add_argument(
        "--inventory",
        type=Path,
        default=ROOT / "inventory" / "local",
        help="directory of hosts.yml (default: inventory/local)",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, work: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(work=work)
        return command

    add("prerequisites", _prerequisites, "install missing Debian packages")
    add("image", _image, "build the kernel and the root file system, unless they exist")
    create = add("create", _create, "boot hosts that are not running, and wait for ssh")
    _add_names(create)
    create.add_argument(
        "--timeout", type=float, default=BOOT_LIMIT_S, help="time limit of a boot, in seconds"
    )
    destroy = add("destroy", _destroy, "stop hosts and delete their disks")
    _add_names(destroy)
    destroy.add_argument("--all", action="store_true", help="all existing hosts")
    show = add("list", _list, "show the hosts")
    show.add_argument("--json", action="store_true", help="as JSON")
    ssh = add("ssh", _ssh, "log in to a host, or run a command on it")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER)
    for name, work, text in (
        ("cut", Host.cut, "disconnect a running host from the network"),
        ("restore", Host.restore, "reconnect a host to the network"),
        ("reboot", Host.reboot, "reboot a host with systemctl, and wait for ssh"),
        ("kill", Host.kill, "power a host off without a shutdown; the disk is kept"),
        ("start", Host.start, "boot an existing host from its disk, and wait for ssh"),
    ):
        add(name, _one(work), text).add_argument("name", metavar="NAME")
    nfs = add("nfs", _nfs, "the NFSv4.1 server that replaces EFS")
    nfs.add_argument("action", choices=("start", "stop", "restart", "status"))
    down = add("down", _down, "destroy all hosts, the shared file system and the network")
    down.add_argument(
        "--image", action="store_true", help="also delete the images and their packages"
    )
    return top


def _add_names(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", metavar="NAME", nargs="*")
    command.add_argument("--group", help="the hosts of this inventory group")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = parser().parse_args(argv)
    try:
        code: int = options.work(options)
    except MMSError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_FAILED
    return code


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _lab(options: argparse.Namespace) -> Lab:
    return Lab.open(ROOT, options.inventory)


def _names(options: argparse.Namespace, lab: Lab) -> list[str]:
    """Return the requested hosts, without duplicates."""
    names = [*options.names, *(lab.inventory.group(options.group) if options.group else ())]
    if not names:
        raise InputError("no host was given.", fix="give names, or --group GROUP.")
    return list(dict.fromkeys(names))


def _prerequisites(_options: argparse.Namespace) -> int:
    prerequisites.install(_progress)
    return 0


def _image(options: argparse.Namespace) -> int:
    lab = _lab(options)
    digest = lab.build_image(_progress)
    print(lab.state.image(digest).directory)
    return 0


def _create(options: argparse.Namespace) -> int:
    lab = _lab(options)
    names = [lab.host(name).name for name in _names(options, lab)]
    newest = lab.build_image(_progress)

    def work(host: Host) -> str:
        took = host.create(timeout_s=options.timeout)
        note = "" if host.existing().image == newest else "; its image is older"
        return (f"ready after {took:.1f} s" if took else "was running already") + note

    return EXIT_FAILED if lab.each(names, work, _progress) else 0


def _destroy(options: argparse.Namespace) -> int:
    lab = _lab(options)
    if options.all:
        names = [host.name for host in lab.hosts() if host.record]
    else:
        names = _names(options, lab)

    def work(host: Host) -> str:
        existed = host.record is not None
        host.destroy()
        return "destroyed" if existed else "did not exist"

    return EXIT_FAILED if lab.each(names, work, _progress) else 0


def _list(options: argparse.Namespace) -> int:
    rows = [host.status() for host in _lab(options).hosts()]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'NAME':16} {'ADDRESS':15} {'MIB':>5} {'STATE':8} {'PID':>7} {'DISK MIB':>8}")
    for row in rows:
        state = "cut" if row["cut"] else row["state"]
        print(
            f"{row['name']:16} {row['address']:15} {row['memory_mib']:5} {state:8} "
            f"{row['pid'] or '-':>7} {row['disk_mib']:8}"
        )
    return 0


def _ssh(options: argparse.Namespace) -> int:
    host = _lab(options).host(options.name)
    host.require_running()
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    return host.ssh_client.session(words)


def _one(work: Callable[[Host], object]) -> Callable[[argparse.Namespace], int]:
    """Return the command that calls ``work`` with the given host."""

    def command(options: argparse.Namespace) -> int:
        took = work(_lab(options).host(options.name))
        seconds = f" ({took:.1f} s)" if isinstance(took, float) else ""
        _progress(f"{options.name}: {options.command} done{seconds}")
        return 0

    return command


def _nfs(options: argparse.Namespace) -> int:
    nfs = _lab(options).nfs
    if options.action in ("stop", "restart"):
        nfs.stop()
    if options.action in ("start", "restart"):
        nfs.start()
    status = nfs.status()
    print(json.dumps(status, indent=1))
    return EXIT_FAILED if options.action == "status" and status["pid"] is None else 0


def _down(options: argparse.Namespace) -> int:
    _lab(options).down(_progress, images=options.image)
    return 0
