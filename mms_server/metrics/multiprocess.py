"""Prometheus' multiprocess mode: each process counts in files, which other processes read.

Each process counts in memory-mapped files of its own. Their names contain the role of the process,
or the slot of the worker. So a respawned worker continues with the files of the dead one: no count
is lost, and the files of a crash loop do not pile up. Each release has a directory, so its counters
outlive its restarts.
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

# Prometheus' client has one set of files per process, so the name of the process is global too.
_process = {"name": MASTER}


def configure(directory: Path, name: str = MASTER) -> None:
    """Count in files of ``directory`` from now on; call it before the first metric is made.

    The gauges of processes that were killed are removed. Counters continue.

    Raises:
        MMSError: the directory cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in directory.glob(f"{_GAUGES}*{SUFFIX}"):
            path.unlink(missing_ok=True)
    except OSError as error:
        cause = f"{directory} cannot be written: {error.strerror}."
        raise MMSError(cause, fix="run the role mms_runtime.") from error
    set_process_name(name)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(process_name)


def set_process_name(name: str) -> None:
    """Count in the files of ``name`` from now on. A worker calls it after the fork."""
    _process["name"] = name


def process_name() -> str:
    """Return the name in the names of this process's files."""
    return _process["name"]


def remove_gauges(directory: Path, name: str) -> None:
    """Remove the gauges, such as requests in flight, of a process that has ended."""
    for path in directory.glob(f"{_GAUGES}*_{name}{SUFFIX}"):
        path.unlink(missing_ok=True)


def counter_files(directory: Path, *, gauges: bool = True) -> list[str]:
    """Return the metric files of a directory; with ``gauges`` also those of live processes."""
    found = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            status = path.lstat()
        except PermissionError:  # a model's code can take the directory's permissions away
            continue
        valid = stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_BYTES
        if valid and (gauges or not path.name.startswith(_GAUGES)):
            found.append(str(path))
    return found


def merge(files: Iterable[str], *, accumulate: bool = True) -> list[Any]:
    """Return the metrics summed over ``files``; an unreadable file is left out.

    Raises:
        FileNotFoundError: a file was removed in between.
    """
    paths = list(files)
    try:
        return list(MultiProcessCollector.merge(paths, accumulate=accumulate))
    except FileNotFoundError:
        raise
    except Exception:  # noqa: BLE001 - a model's code can break a file; the others still count
        readable = [path for path in paths if _is_readable(path)]
        return list(MultiProcessCollector.merge(readable, accumulate=accumulate))


def _is_readable(file: str) -> bool:
    try:
        MultiProcessCollector.merge([file])
    except FileNotFoundError:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong with it
        return False
    return True
