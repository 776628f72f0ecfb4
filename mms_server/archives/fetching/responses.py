"""Answers of a server of archives, the same for all protocols."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Validator:
    """Identifies one content of a location (RFC 9110, section 8.8); may be empty."""

    etag: str = ""
    last_modified: str = ""
    version_id: str = ""

    @property
    def strong(self) -> bool:
        """Whether a download can be resumed by it (RFC 9110, section 13.1.5)."""
        return bool(self.last_modified or (self.etag and not self.etag.startswith("W/")))

    def __bool__(self) -> bool:
        """Return whether it identifies anything."""
        return bool(self.etag or self.last_modified or self.version_id)


@dataclass(frozen=True)
class Reply:
    """An answer whose content begins at byte ``start``.

    ``size`` is the size of the whole content in bytes, None if the server does not say. ``read``
    returns the next bytes, none at the end, and raises :class:`TransientError` when the connection
    fails. ``unchanged``: the content is the one of the validator, and is not sent.
    """

    read: Callable[[], bytes]
    start: int = 0
    size: int | None = None
    validator: Validator = field(default_factory=Validator)
    content_type: str = ""
    unchanged: bool = False


class TransientError(Exception):
    """The next attempt may succeed; ``retry_after_s`` is the wait that the server asks for."""

    def __init__(self, cause: str, retry_after_s: float = 0.0) -> None:
        self.cause = cause
        self.retry_after_s = retry_after_s
        super().__init__(cause)


class StaleRangeError(Exception):
    """The content has changed since the partial download that was to be resumed."""


class Source(Protocol):
    """One location of one protocol."""

    def open(self, start: int, part: Validator, known: Validator) -> AbstractContextManager[Reply]:
        """Request the content from byte ``start`` on, if it still is the one of ``part``.

        With ``start`` 0 the answer may be that the content still is the one of ``known``.

        Raises:
            ArchiveError: no attempt can succeed.
            TransientError: this attempt failed; a later one may succeed.
            StaleRangeError: the content is no longer the one of ``part``.
        """
