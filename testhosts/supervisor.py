"""Supervisor of one host: a detached process that runs the kernel, and restarts it on a reboot.

The kernel and all processes of the guest end with the supervisor, however it ends. The claim on the
address of the host is released when the last of them has ended. The supervisor is stopped by
SIGKILL only.

Run as ``python -m testhosts.supervisor STATE NAME``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mms_server.core.errors import MMSError
from testhosts import machine, network
from testhosts.inventory import PREFIX, HostSpec
from testhosts.locks import claim
from testhosts.state import State

_ENTER = Path(__file__).with_name("enter_kernel.sh")
# Mount point of the state directory in enter_kernel.sh. The header of the disk contains the path of
# the image, so the path must not depend on the checkout.
_INSIDE = Path("/state")
# Kernel message for a reboot, as opposed to a power-off.
_REBOOTING = b"Restarting system"


@dataclass(frozen=True)
class Record:
    """Record of the creation of a host: its specification, and the image of its disk."""

    spec: HostSpec
    image: str

    def save(self, file: Path) -> None:
        """Write the record atomically."""
        content = {**self.spec.__dict__, "image": self.image}
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(file)

    @classmethod
    def load(cls, file: Path) -> Record | None:
        """Return the record that :meth:`save` wrote, or None if there is no valid file."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            spec = HostSpec(
                name=str(content["name"]),
                address=str(content["address"]),
                memory_mib=int(content["memory_mib"]),
                gateway=str(content["gateway"]),
            )
            return cls(spec, str(content["image"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def kernel_arguments(record: Record, *, mtu: int, nameservers: Sequence[str]) -> list[str]:
    """Return the arguments of the kernel; paths are those inside its ``chroot``."""
    spec, inside = record.spec, State(_INSIDE)
    host = inside.host(spec.name)
    tap = f"vec0:transport=tap,ifname={network.tap_name(spec.address)},depth=64,gro=1"
    return [
        f"mem={spec.memory_mib}M",
        f"ubd0={host.disk},{inside.image(record.image).disk}",
        "root=/dev/ubda",
        "rw",
        # A reboot by exec would keep the tap busy: the kernel ends, and the supervisor restarts it.
        "noreboot",
        "seccomp=on",
        f"{tap},mac={network.mac(spec.address)}",
        "con0=null,fd:1",
        "con=null",
        "ssl=null",
        f"umid={spec.name}",
        f"uml_dir={host.directory}/",
        f"systemd.hostname={spec.name}",
        f"testhosts.address={spec.address}/{PREFIX}",
        f"testhosts.gateway={spec.gateway}",
        f"testhosts.nameservers={','.join(nameservers)}",
        f"testhosts.mtu={mtu}",
        "quiet",
    ]


def argv(state: State, record: Record, line: Sequence[str]) -> list[str]:
    """Return the command that runs the kernel with the arguments ``line``.

    The command ends with its parent (``setpriv``), and the processes of the guest end with the pid
    namespace (``unshare``), so that no process remains, even after ``kill -9``.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL"),
        *(str(_ENTER), str(state.image(record.image).kernel_root), str(state.directory)),
        *line,
    ]


def supervise(state: State, name: str) -> int:
    """Run the host until it powers off; return an exit code."""
    files = state.host(name)
    record = Record.load(files.record)
    if record is None:
        sys.stderr.write(f"{files.record} cannot be read.\n")
        return 1
    held = claim(record.spec.address, name, state.directory)
    while True:
        shutil.rmtree(files.directory / name, ignore_errors=True)  # umid directory of the last run
        line = kernel_arguments(
            record, mtu=network.machine_mtu(), nameservers=machine.nameservers()
        )
        began = files.console.stat().st_size if files.console.exists() else 0
        _note(f"{name} starts with {record.spec.memory_mib} MiB")
        with files.console.open("ab") as console:
            ended = subprocess.run(
                argv(state, record, line),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                check=False,
                pass_fds=(held,),
            )
        with files.console.open("rb") as console:
            console.seek(began)
            rebooting = _REBOOTING in console.read()
        _note(f"{name} {'reboots' if rebooting else 'is off'} (kernel: {ended.returncode})")
        if not rebooting:
            return 0


def _note(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(supervise(State(Path(sys.argv[1])), sys.argv[2]))
    except MMSError as error:
        _note(str(error))
        sys.exit(1)
