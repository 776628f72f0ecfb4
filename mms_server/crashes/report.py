"""A death certificate: the report of one unexpected end of a process.

The master of a release writes the certificates of its workers, root those of masters. A model's
code can write where a master writes, so a certificate is parsed as untrusted input.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from mms_server.crashes.causes import Cause
from mms_server.host.release import model_of

MAX_BYTES: Final = 128 * 1024
"""Largest record: a stack and log lines of a few hundred lines each."""

MAX_STACK: Final = 32 * 1024
MAX_LINES: Final = 50
MAX_LINE: Final = 1000
_MAX_REQUESTS: Final = 64
_MAX_TEXT: Final = 256
_MAX_NUMBER: Final = 2**53

ID: Final = re.compile(r"death-[0-9]{8}-[0-9]{9}-[0-9a-f]{8}")
_RELEASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.[0-9a-f]{8}")
_REQUEST: Final = re.compile(r"[A-Za-z0-9._-]{0,128}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}|")


class Role(StrEnum):
    """The kind of process."""

    WORKER = "worker"
    MASTER = "master"


class RecordError(ValueError):
    """A record is not a certificate; the text says why."""


@dataclass(frozen=True)
class Request:
    """A request in flight: its id, its input's digest, and how long it had been computed."""

    id: str
    digest: str
    seconds: float


@dataclass(frozen=True)
class Certificate:
    """One unexpected end; ``at`` is UTC in ISO 8601, sizes are bytes, times seconds.

    ``signal`` is a name like SIGSEGV or empty, ``exit_code`` None if a signal ended it.
    ``resident_bytes`` is the memory when the request in flight began, 0 if there was none.
    ``refused`` is the digest that is refused from now on, ``replay`` the path of its body.
    """

    id: str
    at: str
    release: str
    model: str
    role: str
    pid: int
    cause: str
    signal: str = ""
    exit_code: int | None = None
    peak_bytes: int = 0
    resident_bytes: int = 0
    lived_s: float = 0.0
    requests: tuple[Request, ...] = ()
    stack: str = ""
    log: tuple[str, ...] = ()
    refused: str = ""
    replay: str = ""

    def to_json(self) -> str:
        """Return the certificate as JSON, shortened to what :meth:`from_json` accepts."""
        kept = replace(
            self,
            stack=self.stack[:MAX_STACK],
            requests=self.requests[:_MAX_REQUESTS],
            log=tuple(line[:MAX_LINE] for line in self.log[-MAX_LINES:]),
        )
        return json.dumps(asdict(kept), sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, data: bytes) -> Certificate:
        """Return the certificate that ``to_json`` wrote.

        Raises:
            RecordError: the data is no certificate, or has a value that no certificate has.
        """
        if len(data) > MAX_BYTES:
            raise RecordError(f"it is longer than {MAX_BYTES} bytes")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RecordError("it is no JSON") from error
        if not isinstance(found, dict) or set(found) != {row.name for row in fields(cls)}:
            raise RecordError("its keys are not those of a certificate")
        return _checked(found)


def new_id(now: float) -> str:
    """Return the id of a crash at ``now``, in seconds since the epoch; ids sort by time."""
    moment = datetime.fromtimestamp(now, UTC)
    milliseconds = f"{moment.microsecond // 1000:03d}"
    return f"death-{moment:%Y%m%d-%H%M%S}{milliseconds}-{secrets.token_hex(4)}"


def moment(now: float) -> str:
    """Return ``now``, in seconds since the epoch, in the format of a certificate."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")


def _checked(found: Mapping[str, Any]) -> Certificate:
    """Return the certificate after checking every value: the input is untrusted."""
    certificate = Certificate(
        id=_matching(found, "id", ID),
        at=_time(found["at"]),
        release=_matching(found, "release", _RELEASE),
        model=_text(found, "model", _MAX_TEXT),
        role=_one_of(found, "role", Role),
        pid=int(_number(found["pid"], "pid")),
        cause=_one_of(found, "cause", Cause),
        signal=_text(found, "signal", _MAX_TEXT),
        exit_code=None
        if found["exit_code"] is None
        else int(_number(found["exit_code"], "exit_code")),
        peak_bytes=int(_number(found["peak_bytes"], "peak_bytes")),
        resident_bytes=int(_number(found["resident_bytes"], "resident_bytes")),
        lived_s=_number(found["lived_s"], "lived_s"),
        requests=tuple(_request(row) for row in _list(found, "requests", _MAX_REQUESTS)),
        stack=_text(found, "stack", MAX_STACK),
        log=tuple(_line(row) for row in _list(found, "log", MAX_LINES)),
        refused=_matching(found, "refused", _DIGEST),
        replay=_text(found, "replay", _MAX_TEXT),
    )
    if model_of(certificate.release) != certificate.model:
        raise RecordError("its model is not that of its release")
    return certificate


def _request(row: Any) -> Request:
    if not isinstance(row, dict) or set(row) != {"id", "digest", "seconds"}:
        raise RecordError("a request is not one")
    return Request(
        _matching(row, "id", _REQUEST),
        _matching(row, "digest", _DIGEST),
        _number(row["seconds"], "seconds"),
    )


def _list(found: Mapping[str, Any], name: str, most: int) -> list[Any]:
    rows = found[name]
    if not isinstance(rows, list) or len(rows) > most:
        raise RecordError(f"{name} is no list of up to {most}")
    return rows


def _text(found: Mapping[str, Any], name: str, most: int) -> str:
    text = found[name]
    if not isinstance(text, str) or len(text) > most:
        raise RecordError(f"{name} is no text of up to {most} characters")
    return text


def _line(row: Any) -> str:
    return _text({"a line": row}, "a line", MAX_LINE)


def _matching(found: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    text = _text(found, name, _MAX_TEXT)
    if not pattern.fullmatch(text):
        raise RecordError(f"{name} is not of its form")
    return text


def _one_of(found: Mapping[str, Any], name: str, words: type[StrEnum]) -> str:
    text = _text(found, name, _MAX_TEXT)
    if text not in {str(word) for word in words}:
        raise RecordError(f"{name} is not one of its words")
    return text


def _number(value: Any, name: str) -> float:
    # A NaN fails the comparison.
    sound = isinstance(value, int | float) and not isinstance(value, bool)
    if not (sound and 0 <= value <= _MAX_NUMBER):
        raise RecordError(f"{name} is no number of its range")
    return float(value)


def _time(text: Any) -> str:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError) as error:
        raise RecordError("at is no time") from error
