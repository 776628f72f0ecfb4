"""A worker's part: say which request the engine computes, and refuse those that killed before."""

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
from mms_server.crashes import crash_history as recent_file
from mms_server.crashes import stack_dumps
from mms_server.crashes.crash_history import CrashHistory
from mms_server.crashes.in_flight_log import InFlightLog, InFlightRequest
from mms_server.crashes.input_digest import Input
from mms_server.host.instance_files import MAX_BODY_BYTES, InstanceFiles

MAX_BODIES: Final = 8
"""Bodies that a release keeps at a time."""

_AGAIN_KEY: Final = "HTTP_X_MMS_AGAIN"

_log = logging.getLogger(__name__)


class Quarantine(Protocol):
    """Who sees each request before the engine does."""

    def admit(self, environ: dict[str, Any]) -> Input:
        """Return a request's input.

        Raises:
            QuarantinedError: the release has died on it twice.
        """

    def must_run_alone(self, environ: dict[str, Any], given: Input) -> bool:
        """Return whether a request must be computed by itself: it may end the process."""

    def computing(self, *requests: tuple[str, Input]) -> Any:
        """Return a context that lasts as long as the engine computes these ids and inputs."""


class NoQuarantine:
    """Lets every request in, and notes none."""

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
    """The guard of a release's workers: made before the fork, it watches after :meth:`begin`."""

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
        """Note requests under this slot from now on."""
        self._slot = slot
        try:
            self._in_flight.reserve(slot)
        except OSError as error:
            _log.warning("no room for inputs, each is digested: %s", error)

    def admit(self, environ: dict[str, Any]) -> Input:
        """Return a request's input.

        A request that a process died on already, by what the master knows or because nginx sends
        it again, is kept before it may kill once more.

        Raises:
            QuarantinedError: the release has died on it twice.
        """
        given = Input.of(environ)
        if self._in_flight.epoch != self._epoch:
            self._epoch = self._in_flight.epoch
            self._recent = recent_file.read(self._instance_files.recent)
            self._answered.clear()
        if self._recent.digests:
            certificate = self._recent.refuses(given.digest)
            if certificate:
                raise QuarantinedError(certificate)
        if self.must_run_alone(environ, given):
            self._keep(environ, given.digest)
        return given

    def must_run_alone(self, environ: dict[str, Any], given: Input) -> bool:
        """Return whether a process died on it already: it must not take others with it."""
        return bool(environ.get(_AGAIN_KEY)) or self._suspects(given)

    def _suspects(self, given: Input) -> bool:
        if not self._recent.digests:
            return False
        return self._recent.suspects(given.digest) and given.digest not in self._answered

    @contextmanager
    def computing(self, *requests: tuple[str, Input]) -> Iterator[None]:
        """Note the requests, ids and inputs, for as long as the engine computes them.

        A suspect that is computed after all is none any more: many clients may send the same input,
        and then it is in flight whenever a process dies of something else.
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
        """Say that the worker ends by its own will."""
        self._in_flight.mark_ended(self._slot)

    def stuck(self) -> None:
        """Say that the worker ends because its engine is stuck, and where it is stuck."""
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
            _log.warning("a suspect that was answered cannot be told: %s", error)

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
    """Return what a replay needs beside the body."""
    rows = {
        "path": "PATH_INFO",
        "query": "QUERY_STRING",
        "content_type": "CONTENT_TYPE",
        "inference_header_content_length": "HTTP_INFERENCE_HEADER_CONTENT_LENGTH",
    }
    return {name: str(environ.get(key, "")) for name, key in rows.items()}


def _make_room(directory: Path) -> None:
    """Remove the oldest bodies: nobody has died on them a second time."""
    kept = sorted(directory.iterdir(), key=lambda path: path.lstat().st_mtime)
    for path in kept[: max(len(kept) - MAX_BODIES + 1, 0)]:
        path.unlink(missing_ok=True)
