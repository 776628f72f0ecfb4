"""The last crashes of a release, and the inputs that it refuses because of them.

It is one small file in the release's directory, written by its master. Workers read it when its
epoch changes, the control application when a client's request has failed. An input that was in
flight at one crash is a *suspect*. After a second crash it is *refused*, unless it was answered in
between. Inputs are known by their digests. The file outlives a restart of the release, but not the
release.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mms_server.core.untrusted_files import read_bounded, replace_group_file
from mms_server.crashes.causes import Cause
from mms_server.crashes.report import ID, Certificate

KEPT: Final = 16
"""Crashes that stay in the file: a client asks for its own within about a second."""

MAX_DIGESTS: Final = 256
"""Digests that are remembered; the oldest are dropped first."""

MAX_BYTES: Final = 256 * 1024
_SIGNAL: Final = re.compile(r"SIG[A-Z0-9]{1,12}|signal [0-9]{1,3}|")
_REFUSED_FROM: Final = 2


@dataclass(frozen=True)
class Death:
    """The part of a certificate that the file keeps; ``at`` is in ISO 8601."""

    id: str
    at: str
    cause: str
    signal: str
    request_ids: tuple[str, ...]


@dataclass(frozen=True)
class CrashHistory:
    """The file's content; ``digests`` maps an input's digest to the certificates of its crashes.

    ``paused_until`` is when workers are started again, in seconds since the epoch, 0 if they are
    started now. ``ooms`` is how many out-of-memory kills of the kernel have a certificate.
    """

    deaths: tuple[Death, ...] = ()
    digests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paused_until: float = 0.0
    ooms: int = 0

    def suspects(self, digest: str) -> bool:
        """Return whether a process has crashed while it computed this input."""
        return bool(self.digests.get(digest))

    def refuses(self, digest: str) -> str:
        """Return the certificate because of which an input is refused, an empty text if none."""
        found = self.digests.get(digest, ())
        return found[-1] if len(found) >= _REFUSED_FROM else ""

    def of_request(self, request_id: str) -> str:
        """Return the newest certificate that names a request, an empty text if none does."""
        for death in reversed(self.deaths):
            if request_id in death.request_ids:
                return death.id
        return ""

    def without(self, digests: Collection[str]) -> CrashHistory:
        """Return the history in which these digests are no longer suspects."""
        kept = {key: ids for key, ids in self.digests.items() if key not in digests}
        return replace(self, digests=kept)

    def after(self, certificate: Certificate) -> CrashHistory:
        """Return the history after one more crash."""
        ids = tuple(row.id for row in certificate.requests)
        death = Death(certificate.id, certificate.at, certificate.cause, certificate.signal, ids)
        digests = dict(self.digests)
        if Cause.of(certificate.cause).suspects_input:
            # Each digest once: several requests in flight may have the same input.
            for digest in dict.fromkeys(row.digest for row in certificate.requests if row.digest):
                # Insert it again, as the newest: the first digests are dropped first.
                known = digests.pop(digest, ())
                digests[digest] = (*known, certificate.id)[-_REFUSED_FROM:]
        kept = dict(list(digests.items())[-MAX_DIGESTS:])
        return replace(self, deaths=(*self.deaths, death)[-KEPT:], digests=kept)


def write(path: Path, recent: CrashHistory) -> None:
    """Write the file.

    Raises:
        OSError: it cannot be written.
    """
    about = {
        "deaths": [vars(death) for death in recent.deaths],
        "digests": recent.digests,
        "paused_until": recent.paused_until,
        "ooms": recent.ooms,
    }
    replace_group_file(path, json.dumps(about).encode())


def read(path: Path) -> CrashHistory:
    """Return the file's content; an empty history if the file is missing or damaged."""
    data = read_bounded(path, MAX_BYTES)
    try:
        return _parse(json.loads(data)) if data else CrashHistory()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return CrashHistory()


def _parse(found: Any) -> CrashHistory:
    deaths = tuple(_death(row) for row in found["deaths"])
    digests = {str(key): tuple(str(one) for one in ids) for key, ids in found["digests"].items()}
    return CrashHistory(deaths[-KEPT:], digests, float(found["paused_until"]), int(found["ooms"]))


def _death(row: Any) -> Death:
    """Return a crash, checked: clients are shown its texts, and a model's code can write them."""
    ids = tuple(str(one) for one in row["request_ids"])
    death = Death(
        _matching(row["id"], ID), str(row["at"]), Cause.of(row["cause"]), str(row["signal"]), ids
    )
    _matching(death.signal, _SIGNAL)
    return death


def _matching(text: Any, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(str(text)):
        raise ValueError(text)
    return str(text)
