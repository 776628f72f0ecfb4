"""All that a host's processes have counted: of releases that run, that ended, and that are gone.

Each release counts in its instance directory, and the host itself in one of its own. When a release
is removed, its counters are added to the *past*, so that the sum over all never goes backwards. The
past is a directory that is replaced by one rename of a link; it names the directories that it
holds, so nothing counts twice whenever the one who adds to it is killed.
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

from mms_server.core.files import replace_link
from mms_server.core.paths import Layout
from mms_server.metrics import minute_stats, multiprocess

HOST: Final = "control"
"""The directory of the host itself."""

_LINK: Final = "@past"
_PAST: Final = "@past."
_REMOVED: Final = "@removed."
_HELD: Final = "held.json"
_ATTEMPTS: Final = 5


class MetricsFiles:
    """The counters of one host; ``alive`` tells of a release whether its processes live."""

    def __init__(self, layout: Layout, alive: Callable[[str], bool]) -> None:
        self._layout = layout
        self._root = layout.metrics
        self._alive = alive

    def counted(self) -> list[Any]:
        """Return Prometheus' metrics, summed over all processes.

        Raises:
            OSError: they cannot be read.
        """
        for _attempt in range(_ATTEMPTS):
            past, places = self._places()
            try:
                found = multiprocess.merged(self._counter_files(past, places))
            except FileNotFoundError:  # a release was removed meanwhile: list again
                continue
            if self._places() == (past, places):
                return found
        return multiprocess.merged(self._counter_files(*self._places()))

    def minute(self, number: int) -> dict[minute_stats.Key, minute_stats.Statistic]:
        """Return what all processes observed within a minute."""
        files = [
            file
            for directory in self._places()[1]
            for file in sorted(directory.glob(f"*{minute_stats.SUFFIX}"))
        ]
        return minute_stats.read(files, number)

    def releases(self) -> set[str]:
        """Return the names of the releases that have counted something."""
        return {path.parent.name for path in self._of_releases()}

    def add_to_past(self, gone: Collection[str]) -> None:
        """Add the counters of releases that are gone to the past; remove their directories.

        Only one process may do so at a time.

        Raises:
            OSError: something cannot be written or removed; what was counted stays.
        """
        for name in gone:
            directory = self._layout.counts(name)
            if directory.is_dir() and not directory.is_symlink():
                self._root.mkdir(parents=True, exist_ok=True)
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

    def _places(self) -> tuple[Path | None, list[Path]]:
        """Return the past, and the directories that are not in it.

        Releases are listed first: one that is removed meanwhile is there twice, which is noticed.
        """
        releases = self._of_releases()
        past = self._past()
        held = _held(past)
        own = [
            path
            for path in _directories(self._root)
            if path.name not in held and not path.name.startswith(_PAST)
        ]
        return past, own + releases

    def _of_releases(self) -> list[Path]:
        found = [self._layout.counts(path.name) for path in _directories(self._layout.instances)]
        return [path for path in found if path.is_dir() and not path.is_symlink()]

    def _counter_files(self, past: Path | None, places: Collection[Path]) -> list[str]:
        files = multiprocess.files_of(past) if past else []
        for directory in places:
            release = directory.parent.name if directory.parent != self._root else ""
            alive = bool(release) and self._alive(release)
            files += multiprocess.files_of(directory, gauges=alive)
        return files

    def _write_past(self, before: Path | None, added: list[str], held: Collection[str]) -> None:
        files = multiprocess.files_of(before) if before else []
        for name in added:
            files += multiprocess.files_of(self._root / name, gauges=False)
        target = Path(tempfile.mkdtemp(prefix=_PAST, dir=self._root))
        target.chmod(0o755)
        for metric in multiprocess.merged(files, accumulate=False):
            _write(target / f"{metric.type}_past{multiprocess.SUFFIX}", metric)
        (target / _HELD).write_text(json.dumps(sorted(held)), encoding="utf-8")
        replace_link(self._root / _LINK, target.name)


def _directories(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return [path for path in sorted(place.iterdir()) if path.is_dir() and not path.is_symlink()]


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
