"""Quarantine in a worker: log the requests in flight, and refuse inputs that crashed it twice."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol

from mms_server.core.errors import QuarantinedError
from mms_server.core.request_body import BODY_KEY
from mms_server.core.untrusted_files import open_group_file
from mms_server.crashes import crash_history, stack_dumps
from mms_server.crashes.crash_history import CrashHistory
from mms_server.crashes.in_flight_log import InFlightLog, InFlightRequest
from mms_server.crashes.input_digest import Input
from mms_server.host.instance_files import MAX_BODY_BYTES, InstanceFiles

MAX_BODIES: Final = 8
"""Largest number of bodies that a release keeps."""

_AGAIN_KEY: Final = "HTTP_X_MMS_AGAIN"

_log = logging.getLogger(__name__)


class Quarantine(Protocol):
    """Checks each request before the engine computes it."""

    def admit(self, environ: dict[str, Any]) -> Input:
        """Return a request's input.

        Raises:
            QuarantinedError: the release has crashed on this input twice.
        """

    def must_run_alone(self, environ: dict[str, Any], given: Input) -> bool:
        """Return whether a request must be computed alone, because it may crash the process."""

    def computing(self, *requests: tuple[str, Input]) -> Any:
        """Return a context for the time in which the engine computes these ids and inputs."""


class NoQuarantine:
    """Admits every request, and logs none."""

    def admit(self, environ: dict[str, Any]) -> Input:
        """Return the input."""
        return Input.of(environ)

    def must_run_alone(self, environ: dict[str, Any], given: Input) -> bool:
        """Return no."""
        del environ, given
        return False

    def computing(self, *requests: tuple[str, Input]) -> Any:
        """Return a context that does nothing."""
        del requests
        return nullcontext()


class ReleaseQuarantine:
    """The quarantine of a release's workers: made before the fork, active after :meth:`begin`."""

    def __init__(
        self,
        instance_files: InstanceFiles,
        in_flight: InFlightLog,
        resident: Callable[[], int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._instance_files = instance_files
        self._in_flight = in_flight
        self._resident = resident
        self._clock = clock
        self._slot = -1
        self._epoch = -1
        self._recent = CrashHistory()
        self._answered: set[str] = set()

    def begin(self, slot: int) -> None:
        """Log requests under this slot from now on."""
        self._slot = slot
        try:
            self._in_flight.reserve(slot)
        except OSError as error:
            _log.warning("no memory for the inputs of requests: %s", error)

    def admit(self, environ: dict[str, Any]) -> Input:
        """Return a request's input.

        The body of a suspect is kept before it may crash a process again. An input is a suspect if
        a process has crashed on it (the master notes that), or if nginx sends the request again.

        Raises:
            QuarantinedError: the release has crashed on this input twice.
        """
        given = Input.of(environ)
        if self._in_flight.epoch != self._epoch:
            self._epoch = self._in_flight.epoch
            self._recent = crash_history.read(self._instance_files.recent)
            self._answered.clear()
        if self._recent.digests:
            certificate = self._recent.refuses(given.digest)
            if certificate:
                raise QuarantinedError(certificate)
        if self.must_run_alone(environ, given):
            self._keep(environ, given.digest)
        return given

    def must_run_alone(self, environ: dict[str, Any], given: Input) -> bool:
        """Return whether a process has crashed on it: a crash would end other requests too."""
        return bool(environ.get(_AGAIN_KEY)) or self._suspects(given)

    def _suspects(self, given: Input) -> bool:
        if not self._recent.digests:
            return False
        return self._recent.suspects(given.digest) and given.digest not in self._answered

    @contextmanager
    def computing(self, *requests: tuple[str, Input]) -> Iterator[None]:
        """Log the requests, ids and inputs, for the time in which the engine computes them.

        A suspect that is computed without a crash is acquitted: many clients may send the same
        input, which is then often in flight when a process crashes for another reason.
        """
        now, resident = self._clock(), self._resident()
        in_flight = ((InFlightRequest(one, "", now, resident), given) for one, given in requests)
        self._in_flight.begin(self._slot, *in_flight)
        try:
            yield
        finally:
            self._in_flight.end(self._slot)
        for _id, given in requests:
            if self._suspects(given):
                self._acquit(given.digest)

    def leave(self) -> None:
        """Note that the worker ends on purpose."""
        self._in_flight.mark_ended(self._slot)

    def stuck(self) -> None:
        """Note that the worker ends because its engine is stuck, and write the stack."""
        self._in_flight.mark_stuck(self._slot)
        descriptor = stack_dumps.opened(self._instance_files, str(self._slot))
        if descriptor is not None:
            stack_dumps.now(descriptor)
            os.close(descriptor)

    def _acquit(self, digest: str) -> None:
        self._answered.add(digest)
        try:
            os.close(open_group_file(self._instance_files.answered / digest, os.O_WRONLY))
        except OSError as error:
            _log.warning("the acquittal of a suspect cannot be written: %s", error)

    def _keep(self, environ: dict[str, Any], digest: str) -> None:
        data: bytes = environ.get(BODY_KEY, b"")
        if len(data) > MAX_BODY_BYTES:
            return
        try:
            _make_room(self._instance_files.suspects)
            descriptor = open_group_file(
                self._instance_files.suspects / digest, os.O_WRONLY | os.O_TRUNC
            )
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(json.dumps(_about(environ)).encode() + b"\n")
                stream.write(data)
        except OSError as error:
            _log.warning("a suspect request cannot be kept: %s", error)


def _about(environ: dict[str, Any]) -> dict[str, str]:
    """Return the facts that a replay needs besides the body."""
    rows = {
        "path": "PATH_INFO",
        "query": "QUERY_STRING",
        "content_type": "CONTENT_TYPE",
        "inference_header_content_length": "HTTP_INFERENCE_HEADER_CONTENT_LENGTH",
    }
    return {name: str(environ.get(key, "")) for name, key in rows.items()}


def _make_room(directory: Path) -> None:
    """Remove the oldest bodies: no process has crashed on them a second time."""
    kept = sorted(directory.iterdir(), key=lambda path: path.lstat().st_mtime)
    for path in kept[: max(len(kept) - MAX_BODIES + 1, 0)]:
        path.unlink(missing_ok=True)
