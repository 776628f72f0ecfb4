"""All that a host's processes have counted: of releases that run, that ended, and that are gone.

Each release and the control application have a directory below one root. When a release is removed,
its counters are added to the *past*, so that the sum over all never goes backwards. The past is a
directory that is replaced by one rename of a link; it names the directories that it holds, so
nothing counts twice whenever the one who adds to it is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from prometheus_client.mmap_dict import MmapedDict, mmap_key

from mms_server import counters, minutes

HOST: Final = "control"
"""The directory of the host itself; a release's name has a dot in it."""

# No release's name begins with "@".
_LINK: Final = "@past"
_PAST: Final = "@past."
_REMOVED: Final = "@removed."
_HELD: Final = "held.json"
_ATTEMPTS: Final = 5


class MetricsFiles:
    """The directories below ``root``; ``alive`` tells of a name whether its processes live."""

    def __init__(self, root: Path, alive: Callable[[str], bool]) -> None:
        self._root = root
        self._alive = alive

    def counted(self) -> list[Any]:
        """Return Prometheus' metrics, summed over all processes.

        Raises:
            OSError: they cannot be read.
        """
        for _attempt in range(_ATTEMPTS):
            past = self._past()
            try:
                found = counters.merged(self._counter_files(past))
            except FileNotFoundError:  # a release was removed meanwhile: list again
                continue
            if self._past() == past:
                return found
        return counters.merged(self._counter_files(self._past()))

    def minute(self, number: int) -> dict[minutes.Key, minutes.Statistic]:
        """Return what all processes observed within a minute."""
        files = [
            file
            for directory in self._directories(self._past())
            for file in sorted(directory.glob(f"*{minutes.SUFFIX}"))
        ]
        return minutes.read(files, number)

    def releases(self) -> set[str]:
        """Return the names of the releases that have a directory."""
        found = self._directories(None)
        return {path.name for path in found if path.name != HOST and not _is_ours(path.name)}

    def add_to_past(self, gone: Collection[str]) -> None:
        """Add the counters of releases that are gone to the past; remove their directories.

        Only one process may do so at a time.

        Raises:
            OSError: something cannot be written or removed; what was counted stays.
        """
        for name in gone:
            directory = self._root / name
            if directory.is_dir() and not directory.is_symlink():
                # A name of its own: the same release may come back.
                directory.rename(self._root / f"{_REMOVED}{os.urandom(8).hex()}")
        before = self._past()
        held = set(_held(before))
        removed = {path.name for path in self._root.glob(f"{_REMOVED}*")}
        if removed - held:
            self._write_past(before, sorted(removed - held), removed)
        now = self._past()
        for path in (*self._root.glob(f"{_REMOVED}*"), *self._root.glob(f"{_PAST}*")):
            if path != now:
                shutil.rmtree(path)

    def _past(self) -> Path | None:
        try:
            return self._root / (self._root / _LINK).readlink()
        except FileNotFoundError:
            return None

    def _directories(self, past: Path | None) -> list[Path]:
        if not self._root.is_dir():
            return []
        held = _held(past)
        return [
            path
            for path in sorted(self._root.iterdir())
            if path.is_dir()
            and not path.is_symlink()
            and path.name not in held
            and not path.name.startswith(_PAST)
        ]

    def _counter_files(self, past: Path | None) -> list[str]:
        files = counters.files_of(past) if past else []
        for directory in self._directories(past):
            files += counters.files_of(directory, gauges=self._alive(directory.name))
        return files

    def _write_past(self, before: Path | None, added: list[str], held: Collection[str]) -> None:
        files = counters.files_of(before) if before else []
        for name in added:
            files += counters.files_of(self._root / name, gauges=False)
        target = Path(tempfile.mkdtemp(prefix=_PAST, dir=self._root))
        target.chmod(0o755)
        for metric in counters.merged(files, accumulate=False):
            _write(target / f"{metric.type}_past{counters.SUFFIX}", metric)
        (target / _HELD).write_text(json.dumps(sorted(held)), encoding="utf-8")
        temporary = self._root / f".{_LINK}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target.name)
        temporary.replace(self._root / _LINK)


def _is_ours(name: str) -> bool:
    return name.startswith((_PAST, _REMOVED))


def _write(file: Path, metric: Any) -> None:
    kept = MmapedDict(str(file))
    try:
        for sample in metric.samples:
            names, texts = list(sample.labels), list(sample.labels.values())
            key = mmap_key(metric.name, sample.name, names, texts, metric.documentation)
            kept.write_value(key, sample.value, 0.0)
    finally:
        kept.close()


def _held(past: Path | None) -> list[str]:
    """Return the directories whose counters are in the past."""
    if past is None:
        return []
    try:
        found: list[str] = json.loads((past / _HELD).read_text("utf-8"))
    except FileNotFoundError:  # replaced meanwhile
        return []
    return found
