"""The CPU weight of a release: idle while it loads, then the weight that its unit files set.

When a unit that systemd has loaded changes on disk, systemd reads all units of the host again. That
takes a second or more, in which all that systemd runs may wait. So the files that ``set-property``
has written for a release stay, also after its end, until the release is removed from the host.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from mms_server.core.errors import SupervisorError
from mms_server.host.background_scope import CPU_WEIGHT

_FILE: Final = re.compile(r"# (?P<path>/\S+)")
_WEIGHT: Final = re.compile(r"CPUWeight=(?P<weight>\d+|idle)?\s*")
_DEFAULT: Final = "100"
_MAX_IDLE_S: Final = 10.0


class Systemctl(Protocol):
    """Runs ``systemctl`` for a unit."""

    def __call__(self, unit: str, *arguments: str) -> str:
        """Return the output."""


def weight_in_files(text: str, properties: Path) -> str:
    """Return the CPU weight in a unit's files, from the output of ``systemctl cat``.

    Files below ``properties`` are ignored: ``set-property`` wrote them, for a process that may have
    been killed before it could restore the weight.
    """
    weight, ignored = _DEFAULT, False
    for line in text.splitlines():
        if heading := _FILE.fullmatch(line):
            ignored = Path(heading["path"]).is_relative_to(properties)
        elif not ignored and (found := _WEIGHT.fullmatch(line)):
            weight = found["weight"] or _DEFAULT
    return weight


class CpuWeights:
    """Sets the CPU weights of units; ``set-property --runtime`` writes below ``properties``."""

    def __init__(self, systemctl: Systemctl, properties: Path) -> None:
        self._systemctl = systemctl
        self._properties = properties

    @contextmanager
    def lowered(self, unit: str, timeout_s: float) -> Iterator[None]:
        """Let a unit use only idle CPU time within the context, while it loads.

        A control group of any weight keeps the CPU until the kernel's next tick. That is longer
        than many predictions take. The kernel preempts an idle group at once. But on a host that
        is never idle, such a group may get no CPU time. So the unit gets a weight of 10 after 10 s,
        or after a quarter of ``timeout_s`` if that is shorter.

        Raises:
            SupervisorError: systemd does not answer.
        """
        self._set(unit, "idle")
        timer = threading.Timer(min(_MAX_IDLE_S, timeout_s / 4), self._set_background, [unit])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _set_background(self, unit: str) -> None:
        # If systemd does not answer, the start of the unit reports it.
        with contextlib.suppress(SupervisorError):
            self._set(unit, str(CPU_WEIGHT))

    def restore(self, unit: str) -> None:
        """Give a unit the weight in its files again.

        Raises:
            SupervisorError: systemd does not answer.
        """
        if self._directory(unit).is_dir():
            self._set(unit, weight_in_files(self._systemctl(unit, "cat", unit), self._properties))

    def forget(self, unit: str) -> None:
        """Remove the files that ``set-property`` wrote for a unit, when its release is removed.

        Raises:
            OSError: a file cannot be removed.
        """
        if self._directory(unit).is_dir():
            shutil.rmtree(self._directory(unit))

    def _directory(self, unit: str) -> Path:
        return self._properties / f"{unit}.d"

    def _set(self, unit: str, weight: str) -> None:
        self._systemctl(unit, "set-property", "--runtime", unit, f"CPUWeight={weight}")
