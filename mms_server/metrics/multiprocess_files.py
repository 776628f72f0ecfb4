"""The sum of a host's metrics over all releases: running, ended and removed.

Each release counts in its instance directory; the host's own processes have a directory too. The
counters of a removed release are added to the *past*, the sum over the removed releases. So the sum
over all never decreases. The past is a directory behind a symlink, which one rename replaces. It
lists the directories that its sum includes. So no counter counts twice, whenever the process that
adds to the past is killed.
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
"""The directory of the host's own processes."""

_LINK: Final = "@past"
_PAST: Final = "@past."
_REMOVED: Final = "@removed."
_INCLUDED: Final = "held.json"
_ATTEMPTS: Final = 5


class MetricsFiles:
    """The metrics of one host; ``is_alive`` says whether a release's processes run."""

    def __init__(self, layout: Layout, is_alive: Callable[[str], bool]) -> None:
        self._layout = layout
        self._root = layout.metrics
        self._is_alive = is_alive

    def collect(self) -> list[Any]:
        """Return Prometheus' metrics, summed over all processes.

        Raises:
            OSError: a file or a directory cannot be read.
        """
        for _attempt in range(_ATTEMPTS):
            past, directories = self._list_directories()
            try:
                found = multiprocess.merge(self._counter_files(past, directories))
            except FileNotFoundError:  # a release was removed in between: list again
                continue
            if self._list_directories() == (past, directories):
                return found
        return multiprocess.merge(self._counter_files(*self._list_directories()))

    def read_minute(self, number: int) -> dict[minute_stats.Key, minute_stats.Statistic]:
        """Return the statistics of the minute ``number`` over all processes."""
        files = [
            file
            for directory in self._list_directories()[1]
            for file in sorted(directory.glob(f"*{minute_stats.SUFFIX}"))
        ]
        return minute_stats.read(files, number)

    def releases(self) -> set[str]:
        """Return the names of the releases that have a directory of metrics."""
        return {path.parent.name for path in self._release_directories()}

    def add_to_past(self, removed_releases: Collection[str]) -> None:
        """Add the counters of removed releases to the past, and remove their directories.

        Only one process may call it at a time.

        Raises:
            OSError: a file or a directory cannot be written or removed; no count is lost.
        """
        for name in removed_releases:
            directory = self._layout.release_metrics(name)
            if directory.is_dir() and not directory.is_symlink():
                self._root.mkdir(parents=True, exist_ok=True)
                # A unique name: a release with the same name may be made again.
                directory.rename(self._root / f"{_REMOVED}{os.urandom(8).hex()}")
        before = self._past()
        included = set(_included_names(before))
        removed = {path.name for path in self._root.glob(f"{_REMOVED}*")}
        if removed - included:
            self._write_past(before, sorted(removed - included), removed)
        now = self._past()
        for path in (*self._root.glob(f"{_REMOVED}*"), *self._root.glob(f"{_PAST}*")):
            if path != now:
                shutil.rmtree(path)

    def _past(self) -> Path | None:
        try:
            return self._root / (self._root / _LINK).readlink()
        except FileNotFoundError:
            return None

    def _list_directories(self) -> tuple[Path | None, list[Path]]:
        """Return the past, and the directories that its sum does not include.

        Releases are listed first. So a release that is removed in between is listed twice, and
        :meth:`collect` sees that the list has changed.
        """
        releases = self._release_directories()
        past = self._past()
        included = _included_names(past)
        others = [
            path
            for path in _directories(self._root)
            if path.name not in included and not path.name.startswith(_PAST)
        ]
        return past, others + releases

    def _release_directories(self) -> list[Path]:
        found = [
            self._layout.release_metrics(path.name) for path in _directories(self._layout.instances)
        ]
        return [path for path in found if path.is_dir() and not path.is_symlink()]

    def _counter_files(self, past: Path | None, directories: Collection[Path]) -> list[str]:
        files = multiprocess.counter_files(past) if past else []
        for directory in directories:
            release = directory.parent.name if directory.parent != self._root else ""
            alive = bool(release) and self._is_alive(release)
            files += multiprocess.counter_files(directory, gauges=alive)
        return files

    def _write_past(self, before: Path | None, added: list[str], included: Collection[str]) -> None:
        files = multiprocess.counter_files(before) if before else []
        for name in added:
            files += multiprocess.counter_files(self._root / name, gauges=False)
        target = Path(tempfile.mkdtemp(prefix=_PAST, dir=self._root))
        target.chmod(0o755)
        for metric in multiprocess.merge(files, accumulate=False):
            _write(target / f"{metric.type}_past{multiprocess.SUFFIX}", metric)
        (target / _INCLUDED).write_text(json.dumps(sorted(included)), encoding="utf-8")
        replace_link(self._root / _LINK, target.name)


def _directories(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return [path for path in sorted(parent.iterdir()) if path.is_dir() and not path.is_symlink()]


def _write(file: Path, metric: Any) -> None:
    values = MmapedDict(str(file))
    try:
        for sample in metric.samples:
            names, texts = list(sample.labels), list(sample.labels.values())
            key = mmap_key(metric.name, sample.name, names, texts, metric.documentation)
            values.write_value(key, sample.value, 0.0)
    finally:
        values.close()


def _included_names(past: Path | None) -> list[str]:
    """Return the names of the directories whose counters the past includes."""
    if past is None:
        return []
    try:
        names: list[str] = json.loads((past / _INCLUDED).read_text("utf-8"))
    except FileNotFoundError:  # the past was replaced in between
        return []
    return names
