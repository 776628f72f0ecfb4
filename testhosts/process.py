"""Detached processes, identified by pid *and* start time, so that a reused pid is never killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from testhosts.command import environment
from testhosts.errors import TestHostError

# Fields of /proc/PID/stat after the command name (proc(5)): state is the first, starttime the 20th.
_STATE, _START_TIME = 0, 19
# Working directory of children, so that `python -m testhosts...` finds this package.
_CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Identity:
    """Unique identity of a process: pid, ``start_ticks`` since boot, and id of the boot."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int, proc: Path = Path("/proc")) -> Identity | None:
        """Return the identity of a running process, or None (also for a zombie)."""
        try:
            stat = (proc / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
            boot_id = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        # The command name may contain blanks and parentheses: the fields follow the last ')'.
        fields = stat.rpartition(")")[2].split()
        if len(fields) <= _START_TIME or fields[_STATE] in "ZX":
            return None
        return cls(pid, int(fields[_START_TIME]), boot_id)

    def alive(self, proc: Path = Path("/proc")) -> bool:
        """Return whether this process is still running."""
        return Identity.of(self.pid, proc) == self

    def save(self, file: Path) -> None:
        """Write the identity atomically."""
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        temporary.replace(file)

    @classmethod
    def load(cls, file: Path) -> Identity | None:
        """Return the identity that :meth:`save` wrote, or None if there is no valid file."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return cls(int(content["pid"]), int(content["start_ticks"]), str(content["boot_id"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def end(self, signal_number: int = signal.SIGKILL, *, timeout_s: float = 10.0) -> None:
        """Send a signal and wait until the process has ended; do nothing if it has ended already.

        Raises:
            TestHostError: the process is still running after ``timeout_s``.
        """
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # Compared after the pidfd was opened: the pidfd cannot refer to another process later.
            if not self.alive():
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal_number)
            ended, _, _ = select.select([handle], [], [], timeout_s)
        finally:
            os.close(handle)
        if not ended:
            raise TestHostError(
                f"process {self.pid} did not end within {timeout_s:g} s.",
                fix=f"read /proc/{self.pid}/stack and end the process by hand.",
            )


def spawn(argv: list[str], log: Path, *, keep: tuple[int, ...] = ()) -> Identity:
    """Start a detached process in its own session and append its output to ``log``.

    ``keep`` are inherited file descriptors. Raises TestHostError if the process ended at once.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=keep,
            env=environment(),
            cwd=_CHECKOUT,
        )
    identity = Identity.of(child.pid)
    if identity is None:
        raise TestHostError(
            f"`{argv[0]}` ended at once.", fix=f"read the reason at the end of {log}."
        )
    return identity
