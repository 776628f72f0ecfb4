"""How much of the processor a release has: what is left while it loads, then what its unit names.

systemd reads all units of a host again when one that it has loaded changes on disk, which takes
it a second or more in which whatever it runs may wait. So what ``set-property`` has written of a
release stays where it is, also when the release has ended, until the release is forgotten.
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
from mms_server.host.background_scope import WEIGHT

_FILE: Final = re.compile(r"# (?P<path>/\S+)")
_WEIGHT: Final = re.compile(r"CPUWeight=(?P<weight>\d+|idle)?\s*")
_DEFAULT: Final = "100"
_PATIENCE_S: Final = 10.0


class Systemctl(Protocol):
    """Runs ``systemctl`` about a unit."""

    def __call__(self, unit: str, *words: str) -> str:
        """Return what it printed."""


def weight_in_files(text: str, properties: Path) -> str:
    """Return the weight that a unit's files name, from what ``systemctl cat`` printed of them.

    Files below ``properties`` do not count: they are what was set, by one who was killed perhaps.
    """
    weight, counts = _DEFAULT, True
    for line in text.splitlines():
        if heading := _FILE.fullmatch(line):
            counts = not Path(heading["path"]).is_relative_to(properties)
        elif counts and (found := _WEIGHT.fullmatch(line)):
            weight = found["weight"] or _DEFAULT
    return weight


class CpuWeights:
    """Sets the shares of units; ``properties`` is where ``set-property --runtime`` writes."""

    def __init__(self, systemctl: Systemctl, properties: Path) -> None:
        self._systemctl = systemctl
        self._properties = properties

    @contextmanager
    def lowered(self, unit: str, timeout_s: float) -> Iterator[None]:
        """Let a unit load meanwhile with what others leave of the processor.

        A group of processes of any weight holds the processor until the kernel's next tick, which
        is longer than many a prediction takes; an idle one is put aside at once. But it may get
        nothing on a host that is never idle, so it has a small weight if it is not ready soon.

        Raises:
            SupervisorError: systemd does not answer.
        """
        self._set(unit, "idle")
        later = threading.Timer(min(_PATIENCE_S, timeout_s / 4), self._raise, [unit])
        later.daemon = True
        later.start()
        try:
            yield
        finally:
            later.cancel()
            later.join()

    def _raise(self, unit: str) -> None:
        # The start itself tells of a systemd that does not answer.
        with contextlib.suppress(SupervisorError):
            self._set(unit, str(WEIGHT))

    def restore(self, unit: str) -> None:
        """Give a unit what its files name, whatever was set.

        Raises:
            SupervisorError: systemd does not answer.
        """
        if self._directory(unit).is_dir():
            self._set(unit, weight_in_files(self._systemctl(unit, "cat", unit), self._properties))

    def forget(self, unit: str) -> None:
        """Remove what was set of a unit that is gone.

        Raises:
            OSError: it cannot be removed.
        """
        if self._directory(unit).is_dir():
            shutil.rmtree(self._directory(unit))

    def _directory(self, unit: str) -> Path:
        return self._properties / f"{unit}.d"

    def _set(self, unit: str, weight: str) -> None:
        self._systemctl(unit, "set-property", "--runtime", unit, f"CPUWeight={weight}")
