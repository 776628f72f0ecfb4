"""Certify each unexpected end of a worker in the master, and find the inputs to refuse."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace

from mms_server.core.untrusted_files import read_bounded, replace_group_file
from mms_server.crashes import crash_history
from mms_server.crashes.causes import Cause
from mms_server.crashes.in_flight_log import InFlightLog, WorkerTrace
from mms_server.crashes.report import MAX_STACK, Certificate, Request, Role, moment, new_id
from mms_server.host.cgroup import Cgroup
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.release import model_of

_MAX_WAITING = 64

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProcessEnd:
    """How a process ended: ``status`` is that of ``wait``, ``slot`` that of the worker.

    ``aborted``: the master ended it because its heartbeat had stopped. ``stopping``: the master
    was stopping its workers.
    """

    pid: int
    slot: int
    status: int
    peak_bytes: int
    lived_s: float
    aborted: bool = False
    stopping: bool = False


class CrashReporter:
    """Writes the certificates of one release's workers, in the master."""

    def __init__(
        self,
        instance_files: InstanceFiles,
        release_id: str,
        in_flight: InFlightLog,
        cgroup: Cgroup,
        clock: Callable[[], float],
    ) -> None:
        self._instance_files = instance_files
        self._release = release_id
        self._in_flight = in_flight
        self._cgroup = cgroup
        self._clock = clock
        known = crash_history.read(instance_files.recent)
        self._recent = replace(known, paused_until=0.0, ooms=cgroup.oom_kills())
        self._publish()

    def died(self, end: ProcessEnd) -> Certificate | None:
        """Return the certificate of a worker that has ended, None if the end was expected."""
        trace = self._in_flight.take(end.slot)
        cause = self._cause(end, trace)
        if cause is None:
            return None
        certificate = self._certificate(end, trace, cause)
        self._recent = self._recent.without(self._acquitted()).after(certificate)
        digests = [request.digest for request in trace.in_flight if request.digest]
        refused = [one for one in digests if self._recent.refuses(one) == certificate.id]
        if refused:
            # There is only one: an input on which a process crashed before is computed alone.
            certificate = replace(certificate, refused=refused[0])
        self._publish()
        self._hand_over(certificate)
        _log.error("%s", _words(certificate))
        return certificate

    def _acquitted(self) -> set[str]:
        """Return the suspects that workers have answered since the last crash; forget the list."""
        found: set[str] = set()
        try:
            for path in self._instance_files.answered.iterdir():
                found.add(path.name)
                path.unlink()
        except OSError as error:
            _log.warning("the acquitted suspects cannot be read: %s", error)
        return found

    def pause_until(self, time: float) -> None:
        """Publish when the next worker is started, in seconds since the epoch; 0 for now."""
        if self._recent.paused_until != time:
            self._recent = replace(self._recent, paused_until=time)
            self._publish()

    def _cause(self, end: ProcessEnd, trace: WorkerTrace) -> Cause | None:
        killed = os.WTERMSIG(end.status) if os.WIFSIGNALED(end.status) else 0
        code = os.WEXITSTATUS(end.status) if os.WIFEXITED(end.status) else None
        cause: Cause | None = Cause.SIGNAL if killed else Cause.EXIT
        if killed == signal.SIGKILL and self._cgroup.oom_kills() > self._recent.ooms:
            self._recent = replace(self._recent, ooms=self._recent.ooms + 1)
            cause = Cause.MEMORY
        elif end.aborted:
            cause = Cause.HANG
        elif trace.stuck:
            cause = Cause.TIMEOUT
        elif end.stopping and killed == signal.SIGKILL:
            cause = Cause.STOP
        elif trace.ended and (code == 0 or killed == signal.SIGTERM):
            cause = None
        elif killed == signal.SIGTERM and end.lived_s < 1:
            # It was told to end before it had set its signal handlers.
            cause = None
        return cause

    def _certificate(self, end: ProcessEnd, trace: WorkerTrace, cause: Cause) -> Certificate:
        now = self._clock()
        killed = os.WTERMSIG(end.status) if os.WIFSIGNALED(end.status) else 0
        requests = tuple(
            Request(request.request_id, request.digest, round(max(now - request.started, 0), 3))
            for request in trace.in_flight
        )
        return Certificate(
            id=new_id(now),
            at=moment(now),
            release=self._release,
            model=model_of(self._release),
            role=Role.WORKER,
            pid=end.pid,
            cause=cause,
            signal=signal_name(killed),
            exit_code=os.WEXITSTATUS(end.status) if os.WIFEXITED(end.status) else None,
            peak_bytes=end.peak_bytes,
            resident_bytes=max((request.resident_bytes for request in trace.in_flight), default=0),
            lived_s=round(end.lived_s, 3),
            requests=requests,
            stack=stack_of(self._instance_files, str(end.slot)),
        )

    def _publish(self) -> None:
        try:
            crash_history.write(self._instance_files.recent, self._recent)
        except OSError as error:
            _log.error("the crash history cannot be written: %s", error)
        self._in_flight.next_epoch()

    def _hand_over(self, certificate: Certificate) -> None:
        """Write the record for root to collect; if nobody collects, bound their number."""
        try:
            waiting = sum(1 for _ in self._instance_files.deaths.iterdir())
            if waiting < _MAX_WAITING:
                record = self._instance_files.directory / f"{certificate.id}.json"
                replace_group_file(record, certificate.to_json().encode())
                record.replace(self._instance_files.deaths / record.name)
            else:
                _log.error("%s is not kept: %d records wait", certificate.id, waiting)
        except OSError as error:
            _log.error("%s is not kept: %s", certificate.id, error)


def signal_name(number: int) -> str:
    """Return a signal's name, an empty text for 0."""
    try:
        return signal.Signals(number).name if number else ""
    except ValueError:
        return f"signal {number}"


def stack_of(instance_files: InstanceFiles, name: str) -> str:
    """Return the stack that faulthandler wrote for a process, an empty text if there is none."""
    return read_bounded(instance_files.stack(name), MAX_STACK).decode("utf-8", "replace")


def _words(certificate: Certificate) -> str:
    how = certificate.signal or f"exit code {certificate.exit_code}"
    which = ", ".join(row.id for row in certificate.requests)
    during = f" during request {which}" if which else ""
    return (
        f"worker {certificate.pid} died{during}: {certificate.cause}, {how}; "
        f"`mms why {certificate.id}` tells more"
    )
