"""Collect death certificates as root, write those of masters, and bound how many are kept.

The collected records lie where a model's code can write. So a record is opened without following
links, and must be a small regular file and a complete certificate of the same release. Anything
else is removed. The directory is always empty afterwards: otherwise the unit that watches it would
run for ever.
"""

from __future__ import annotations

import contextlib
import grp
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mms_server.core.files import new_file, open_directory
from mms_server.core.paths import Layout
from mms_server.core.untrusted_files import NotRegularFileError, open_regular
from mms_server.crashes import crash_history, start_history
from mms_server.crashes.causes import Cause
from mms_server.crashes.in_flight_log import read_in_flight
from mms_server.crashes.report import (
    MAX_BYTES,
    Certificate,
    RecordError,
    Request,
    Role,
    moment,
    new_id,
)
from mms_server.crashes.reporter import stack_of
from mms_server.host.cgroup import Cgroup
from mms_server.host.instance_files import MAX_BODY_BYTES, InstanceFiles
from mms_server.host.release import model_of

MAX_OF_RELEASE: Final = 100
"""Certificates that are kept of one release: a crash loop must not displace those of others."""

MAX_FILES: Final = 1000
MAX_BODIES: Final = 32
_MAX_HEAD: Final = 64 * 1024
_GROUP: Final = "mms"
_CAUSES: Final = {
    "exit-code": Cause.EXIT,
    "signal": Cause.SIGNAL,
    "core-dump": Cause.SIGNAL,
    "watchdog": Cause.HANG,
    "timeout": Cause.TIMEOUT,
    "oom-kill": Cause.MEMORY,
}

Journal = Callable[[str], tuple[str, ...]]
"""Returns the last log lines of a release."""


@dataclass(frozen=True)
class CrashCollector:
    """Collects the certificates of one host; ``report`` gets refused records with the reason."""

    layout: Layout
    journal: Journal
    report: Callable[[str], None]
    clock: Callable[[], float]

    def collect(self, release_id: str) -> list[Certificate]:
        """Keep the certificates that a release's masters have written; return them.

        Raises:
            OSError: a certificate cannot be written.
        """
        kept = []
        instance_files = InstanceFiles(self.layout.instance(release_id))
        with _directory(instance_files.deaths) as place:
            for name in _entries(place):
                try:
                    certificate = _record(place, name, release_id)
                    kept.append(self._keep(certificate, instance_files))
                except RecordError as error:
                    self.report(f"{release_id}: {name!r} is no certificate: {error}")
                finally:
                    _remove(place, name)
        return kept

    def ended(self, release_id: str, environ: Mapping[str, str], cgroup: Cgroup) -> None:
        """Certify the end of a release's master, which systemd describes in ``environ``.

        Raises:
            OSError: the certificate cannot be written.
        """
        instance_files = InstanceFiles(self.layout.instance(release_id))
        self.collect(release_id)
        result = environ.get("SERVICE_RESULT", "success")
        if result == "success":
            # It was stopped on purpose: the next start does not wait.
            instance_files.starts.unlink(missing_ok=True)
            return
        self._keep(self._of_master(release_id, instance_files, environ, cgroup), instance_files)

    def _of_master(
        self,
        release_id: str,
        instance_files: InstanceFiles,
        environ: Mapping[str, str],
        cgroup: Cgroup,
    ) -> Certificate:
        now = self.clock()
        name, code = _how(environ)
        cause = _CAUSES.get(environ.get("SERVICE_RESULT", ""), Cause.EXIT)
        if (
            name == "SIGKILL"
            and cgroup.oom_kills() > crash_history.read(instance_files.recent).ooms
        ):
            cause = Cause.MEMORY
        pid = environ.get("MAINPID", "")
        begun = start_history.read(instance_files.starts).begun
        requests = tuple(
            Request(row.request_id, row.digest, round(min(max(now - row.started, 0), 1e6), 3))
            for row in read_in_flight(instance_files.in_flight)
        )
        return Certificate(
            id=new_id(now),
            at=moment(now),
            release=release_id,
            model=model_of(release_id),
            role=Role.MASTER,
            pid=int(pid) if pid.isascii() and pid.isdigit() else 0,
            cause=cause,
            signal=name,
            exit_code=code,
            peak_bytes=cgroup.peak_bytes(),
            lived_s=round(max(now - begun, 0), 3) if begun else 0.0,
            requests=requests,
            stack=stack_of(instance_files, "master"),
        )

    def _keep(self, certificate: Certificate, instance_files: InstanceFiles) -> Certificate:
        replay = self._keep_body(certificate.refused, instance_files) if certificate.refused else ""
        whole = replace(certificate, log=self.journal(certificate.release), replay=replay)
        directory = self.layout.deaths
        _make(directory, 0o750)
        target = directory / f"{certificate.id}.json"
        if not target.exists():
            _write(target, whole.to_json().encode(), 0o640)
        _bound(directory, MAX_FILES, lambda _file: True)
        _bound(directory, MAX_OF_RELEASE, lambda file: _release_of(file) == certificate.release)
        return whole

    def _keep_body(self, digest: str, instance_files: InstanceFiles) -> str:
        """Move the body of a refused request to where only root writes; return its path."""
        with _directory(instance_files.suspects) as place:
            if place is None:
                return ""
            try:
                data = _regular(place, digest, MAX_BODY_BYTES + _MAX_HEAD)
            except RecordError:
                return ""
            _remove(place, digest)
        _make(self.layout.quarantine, 0o700, group=False)
        target = self.layout.quarantine / digest
        _write(target, data, 0o600, group=False)
        _bound(self.layout.quarantine, MAX_BODIES, lambda _file: True)
        return str(target)


@contextmanager
def _directory(path: Path) -> Iterator[int | None]:
    """Open a directory that is not a link; None if there is none."""
    try:
        descriptor = open_directory(path)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _entries(place: int | None) -> list[str]:
    # The path may lead elsewhere by now; the descriptor does not.
    return [] if place is None else sorted(os.listdir(place))  # noqa: PTH208


def _record(place: int | None, name: str, release_id: str) -> Certificate:
    certificate = Certificate.from_json(_regular(place, name, MAX_BYTES))
    if certificate.release != release_id or name != f"{certificate.id}.json":
        raise RecordError("it is of another release, or has another name")
    if certificate.role != Role.WORKER:
        raise RecordError("a master cannot certify a master")
    return certificate


def _regular(place: int | None, name: str, limit: int) -> bytes:
    refused = f"it is no regular file of up to {limit} bytes"
    try:
        stream = open_regular(name, directory=place)
    except NotRegularFileError as error:
        raise RecordError(refused) from error
    except OSError as error:
        raise RecordError(f"it cannot be opened ({error.strerror})") from error
    with stream:
        if os.fstat(stream.fileno()).st_size > limit:
            raise RecordError(refused)
        return stream.read(limit)


def _remove(place: int | None, name: str) -> None:
    try:
        os.unlink(name, dir_fd=place)
    except IsADirectoryError:
        shutil.rmtree(name, ignore_errors=True, dir_fd=place)
    except FileNotFoundError:
        return


def _how(environ: Mapping[str, str]) -> tuple[str, int | None]:
    """Return signal and exit code from the variables of systemd."""
    text = environ.get("EXIT_STATUS", "")
    if environ.get("EXIT_CODE") == "exited":
        return "", int(text) if text.isascii() and text.isdigit() else None
    name = f"SIG{text}"
    return (name if name in signal.Signals.__members__ else text), None


def _make(directory: Path, mode: int, *, group: bool = True) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(mode)
    if group:
        _give(directory)


def _write(target: Path, data: bytes, mode: int, *, group: bool = True) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    with new_file(temporary, mode) as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(data)
    if group:
        _give(temporary)
    temporary.replace(target)


def _give(path: Path) -> None:
    """Give a file to the server's group to read; without that group only root can read it."""
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(_GROUP).gr_gid)


def _bound(directory: Path, most: int, counts: Callable[[Path], bool]) -> None:
    """Remove the oldest files beyond ``most``, by their time of change."""
    files = [file for file in directory.iterdir() if not file.name.startswith(".")]
    if len(files) <= most:
        return
    chosen = sorted(filter(counts, files), key=lambda file: (file.stat().st_mtime_ns, file.name))
    for file in chosen[: max(len(chosen) - most, 0)]:
        file.unlink(missing_ok=True)


def _release_of(file: Path) -> str:
    try:
        return Certificate.from_json(file.read_bytes()).release
    except (OSError, RecordError):
        return ""
