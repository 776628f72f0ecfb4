"""The limits on the content of one request."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class RequestLimits:
    """What one request may contain.

    A limit is a setting of hosts if :class:`mms_server.host.release.Release` has a field of its
    name; then both have the same default.

    ``max_parts`` is for the parts of a multipart form and the fields of a URL-encoded one.
    ``max_form_escapes`` is for URL-encoded forms: to decode an escape takes some hundred bytes of
    memory; a picture in base64 has few escapes.
    """

    max_body_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 64_000_000
    max_parts: int = 1000
    max_part_header_bytes: int = 8 * 1024
    max_form_escapes: int = 2_000_000

    @classmethod
    def of(cls, release: object) -> RequestLimits:
        """Return the limits that ``release`` has as fields, and the defaults of the others."""
        names = (row.name for row in fields(cls))
        return cls(**{name: getattr(release, name) for name in names if hasattr(release, name)})
