"""Counters in files that all processes of a server write and others read.

Each process counts in memory-mapped files of its own, named by its role or by its worker's slot, so
a respawned worker goes on with the files of the dead one: nothing that was counted is lost, and the
files of a crash loop do not pile up. A release has a directory; its counters outlive its restarts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from prometheus_client import values
from prometheus_client.multiprocess import MultiProcessCollector

from mms_server.core.errors import MMSError

MASTER: Final = "master"
SUFFIX: Final = ".db"
_GAUGES: Final = "gauge_"
_MAX_BYTES: Final = 16 * 1024 * 1024

# Prometheus' client keeps its files per process, so who this process is has to be as global.
_process = {"name": MASTER}


def use(directory: Path, name: str = MASTER) -> None:
    """Count in files of ``directory`` from now on; call it before the first metric is made.

    Gauges left by processes that were killed are removed; counters go on.

    Raises:
        MMSError: the directory cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.glob(f"{_GAUGES}*{SUFFIX}"):
            left.unlink(missing_ok=True)
    except OSError as error:
        cause = f"{directory} cannot be written: {error.strerror}."
        raise MMSError(cause, fix="run the role mms_runtime.") from error
    become(name)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(process_name)


def become(name: str) -> None:
    """Count under this name from now on: a worker calls it after the fork."""
    _process["name"] = name


def process_name() -> str:
    """Return the name that this process counts under."""
    return _process["name"]


def forget_gauges(directory: Path, name: str) -> None:
    """Remove what a process that has ended had at that time, such as requests in flight."""
    for left in directory.glob(f"{_GAUGES}*_{name}{SUFFIX}"):
        left.unlink(missing_ok=True)


def files_of(directory: Path, *, gauges: bool = True) -> list[str]:
    """Return the files with counters in a directory; ``gauges``: also those of processes alive."""
    found = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            facts = path.lstat()
        except PermissionError:  # a model's code can take the directory's permissions away
            continue
        sound = stat.S_ISREG(facts.st_mode) and facts.st_size <= _MAX_BYTES
        if sound and (gauges or not path.name.startswith(_GAUGES)):
            found.append(str(path))
    return found


def merged(files: Iterable[str], *, accumulate: bool = True) -> list[Any]:
    """Return the metrics in ``files``, summed over them; an unreadable file is left out.

    Raises:
        FileNotFoundError: a file was removed meanwhile.
    """
    chosen = list(files)
    try:
        return list(MultiProcessCollector.merge(chosen, accumulate=accumulate))
    except FileNotFoundError:
        raise
    except Exception:  # noqa: BLE001 - a model's code can write there; the rest is to be seen
        sound = [file for file in chosen if _is_sound(file)]
        return list(MultiProcessCollector.merge(sound, accumulate=accumulate))


def _is_sound(file: str) -> bool:
    try:
        MultiProcessCollector.merge([file])
    except FileNotFoundError:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong with it
        return False
    return True
