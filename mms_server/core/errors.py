"""Errors that this project raises on purpose: each names its cause and the fix.

An error class carries data; its text is made from the data. :mod:`mms_server.core.refusals` has the
HTTP status of each error that a client gets. ``exit_code`` is the exit code of a command that ends
with the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class MMSError(Exception):
    """Base class of all expected errors: ``cause`` is one sentence, ``fix`` says what to do."""

    exit_code: ClassVar[int] = 2

    def __init__(self, cause: str, *, fix: str = "") -> None:
        self.cause = cause
        self.fix = fix
        super().__init__(cause, fix)

    def where(self) -> str:
        """Return the place the error is about, or an empty string."""
        return ""

    def __str__(self) -> str:
        place = self.where()
        text = f"{place}: {self.cause}" if place else self.cause
        return f"{text} Fix: {self.fix}" if self.fix else text


class ConfError(MMSError):
    """``mms.conf`` or a setting is wrong; ``line`` counts from 1, 0 means the whole file."""

    def __init__(self, file: Path | str, line: int, cause: str, *, fix: str = "") -> None:
        self.file = str(file)
        self.line = line
        super().__init__(cause, fix=fix)

    def where(self) -> str:
        """Return ``file:line``."""
        return f"{self.file}:{self.line}" if self.line else self.file


class ArchiveError(MMSError):
    """A model archive (or unpacked model directory) cannot be used."""

    def __init__(self, archive: Path | str, cause: str, *, fix: str = "") -> None:
        self.archive = str(archive)
        super().__init__(cause, fix=fix)

    def where(self) -> str:
        """Return the archive's path."""
        return self.archive


class FetchError(MMSError):
    """An archive could not be downloaded; ``place`` is the line of a file that names it, if any."""

    exit_code: ClassVar[int] = 4

    def __init__(self, location: str, cause: str, *, fix: str = "", place: str = "") -> None:
        self.location = location
        self.place = place
        super().__init__(cause, fix=fix)

    def where(self) -> str:
        """Return the line and the location."""
        return f"{self.place}: {self.location}" if self.place else self.location


class SilentFileSystemError(MMSError):
    """A file system did not answer within ``limit_s`` seconds, as with a lost NFS server."""

    exit_code: ClassVar[int] = 4

    def __init__(self, path: Path, limit_s: float) -> None:
        self.path = path
        self.limit_s = limit_s
        super().__init__(
            f"the file system did not answer within {limit_s:g} s.",
            fix="see that its server can be reached (findmnt tells which), then run it again.",
        )

    def where(self) -> str:
        """Return the path whose file system did not answer."""
        return str(self.path)


class ServiceError(MMSError):
    """A model's service class cannot be loaded, or the model cannot be bound.

    ``step`` is the part of a release's start in which it happened.
    """

    step: ClassVar[str] = "load"


class WarmUpError(ServiceError):
    """A model cannot compute, or its outputs are not finite numbers."""

    step: ClassVar[str] = "warm-up"


class EngineError(ServiceError):
    """The chosen engine cannot compute the model, or its outputs differ from the reference's."""

    step: ClassVar[str] = "engine"


class GoldenError(ServiceError):
    """A model's answer to its golden sample ``number`` (counted from 1) is not the expected one."""

    step: ClassVar[str] = "golden check"

    def __init__(self, number: int, difference: str, *, fix: str = "") -> None:
        self.number = number
        self.difference = difference
        super().__init__(f"golden sample {number}: {difference}", fix=fix)


class LockHeldError(MMSError):
    """Another process is changing this host."""

    exit_code: ClassVar[int] = 3

    def __init__(self, owner: str) -> None:
        self.owner = owner
        super().__init__(
            f"this host is being changed by {owner}.", fix="wait until it is done, then run again."
        )


class NoRoomError(MMSError):
    """A change needs more memory than the host has; nothing was changed."""

    exit_code: ClassVar[int] = 3

    def __init__(self, models: Sequence[str], lacking_bytes: int, cause: str, *, fix: str) -> None:
        self.models = tuple(models)
        self.lacking_bytes = lacking_bytes
        super().__init__(cause, fix=fix)

    def where(self) -> str:
        """Return the models."""
        return f"model {', '.join(self.models)}"


class ReleaseFailedError(MMSError):
    """A release did not become ready; the host still serves what it served before."""

    exit_code: ClassVar[int] = 4

    def __init__(self, model: str, step: str, cause: str, *, fix: str = "") -> None:
        self.model = model
        self.step = step
        super().__init__(cause, fix=fix)

    def where(self) -> str:
        """Return the model and the step that failed."""
        return f"model {self.model}, step {self.step}"


class RequestError(MMSError):
    """A request gets no answer. The error's text goes to the client, so it names no path or class.

    ``retry_after_s`` is the value of ``Retry-After``, where the class's row in
    :mod:`mms_server.core.refusals` says that the answer has that header.
    """

    retry_after_s: int = 1


class RefusedError(RequestError):
    """A request is refused before the model has computed it.

    Scheduler, batcher and engine thread let each subclass through, so that the client gets the
    status and the text of the subclass. Any other error that is raised there is a failure of the
    model.
    """


class BadInputError(RefusedError):
    """The request does not have the inputs that the model's signature asks for."""


class NotFoundError(RefusedError):
    """There is no such path, or the model has no such version."""


class ModelNotFoundError(NotFoundError):
    """No model of this name is served."""

    def __init__(self, model: str) -> None:
        super().__init__(f"Model not found: {model}")


class LengthRequiredError(RefusedError):
    """The request's body has no declared length."""


class BodyTooLargeError(RefusedError):
    """The request's body, or the width and height of an image in it, is over the limit."""


class RequestTimeoutError(RefusedError):
    """The request's body did not arrive in time."""


class QuarantinedError(RefusedError):
    """The release died twice on this input; ``certificate`` names the last death certificate."""

    def __init__(self, certificate: str) -> None:
        self.certificate = certificate
        super().__init__(
            f"The model's server died twice on this input ({certificate}): it is refused.",
            fix=f"send another input; `mms why {certificate}` on the host tells what happened.",
        )


class UnavailableError(RefusedError):
    """The model is not ready."""


class LateError(UnavailableError):
    """The answer would come after the client's deadline.

    ``waited_s`` is how long the request has waited, ``limit_s`` its time limit. By estimate
    ``depth`` requests wait, and ``rate`` are answered in a second; 0 if that is not known.
    ``expected_s`` is the estimated time to an answer, for a request that was not queued; else 0.
    """

    def __init__(
        self,
        waited_s: float,
        limit_s: float,
        depth: int,
        rate: float,
        retry_after_s: int,
        *,
        expected_s: float = 0.0,
    ) -> None:
        self.waited_s = waited_s
        self.limit_s = limit_s
        self.depth = depth
        self.rate = rate
        self.retry_after_s = retry_after_s
        queue = (
            f"; about {depth} requests wait, {rate:.3g} are answered in a second" if rate else ""
        )
        what = (
            f"An answer takes {expected_s:.3f} s now, so the request would miss its limit of "
            f"{limit_s:g} s and was not queued"
            if expected_s
            else f"The request waited {waited_s:.3f} s and would miss its limit of {limit_s:g} s, "
            "so it was not computed"
        )
        super().__init__(
            f"{what}{queue}.",
            fix="try again later, see Retry-After, or give it more time in X-Request-Timeout-Ms.",
        )


class ClientGoneError(RefusedError):
    """The client closed its connection before its request was computed."""


class PredictionError(RequestError):
    """The model raised an error; only the log has that error."""


class PredictionTimeoutError(RequestError):
    """The prediction was not ready in time."""


class SupervisorError(MMSError):
    """systemd did not carry out a command for a unit; ``journal`` holds the unit's last lines."""

    exit_code: ClassVar[int] = 4

    def __init__(self, unit: str, cause: str, *, journal: str = "", fix: str = "") -> None:
        self.unit = unit
        self.journal = journal
        super().__init__(cause, fix=fix or f"see `journalctl -u {unit}` on the host.")

    def where(self) -> str:
        """Return the unit."""
        return self.unit


class ProbeError(MMSError):
    """A release did not answer on its socket in time."""

    exit_code: ClassVar[int] = 4
