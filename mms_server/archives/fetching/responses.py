"""What a server of archives answers, whatever its protocol."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Validator:
    """What tells one content of a location from another (RFC 9110, section 8.8); may be empty."""

    etag: str = ""
    last_modified: str = ""
    version_id: str = ""

    @property
    def strong(self) -> bool:
        """Whether it is good enough to continue a download by (RFC 9110, section 13.1.5)."""
        return bool(self.last_modified or (self.etag and not self.etag.startswith("W/")))

    def __bool__(self) -> bool:
        """Return whether there is anything to compare."""
        return bool(self.etag or self.last_modified or self.version_id)


@dataclass(frozen=True)
class Reply:
    """An answer whose content begins at byte ``start``.

    ``size`` is that of the whole content in bytes, None if the server does not tell. ``read``
    returns the next bytes, none at the end, and raises :class:`TransientError` when the connection
    fails. ``unchanged`` says that the content is what the validator names, and is not sent.
    """

    read: Callable[[], bytes]
    start: int = 0
    size: int | None = None
    validator: Validator = field(default_factory=Validator)
    content_type: str = ""
    unchanged: bool = False


class TransientError(Exception):
    """A failure that may be gone at the next attempt; ``retry_after_s`` is what the server asks."""

    def __init__(self, cause: str, retry_after_s: float = 0.0) -> None:
        self.cause = cause
        self.retry_after_s = retry_after_s
        super().__init__(cause)


class StaleRangeError(Exception):
    """The server has other content now than the part that was to be continued."""


class Source(Protocol):
    """One location of one protocol."""

    def open(self, start: int, part: Validator, known: Validator) -> AbstractContextManager[Reply]:
        """Ask for the content from byte ``start`` on, if it still is what ``part`` names.

        With ``start`` 0, the answer may be that the content still is what ``known`` names.

        Raises:
            ArchiveError: it cannot be had, at no attempt.
            TransientError: it cannot be had now.
            StaleRangeError: the content has changed since ``part``.
        """
