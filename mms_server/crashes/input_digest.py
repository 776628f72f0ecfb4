"""Identify the input of a request, independent of client, route and worker."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from mms_server.core.request_body import BODY_KEY

_BOUNDARY: Final = re.compile(r'boundary="?([^";]{1,70})')


@dataclass(frozen=True)
class Input:
    """A request's body and how to parse it: ``head`` has its type and query.

    ``boundary`` separates the parts of a form, b"" if the body is no form. It does not count in the
    digest: a client that sends the form again makes a new boundary.
    """

    head: bytes
    boundary: bytes
    body: bytes

    @classmethod
    def of(cls, environ: dict[str, Any]) -> Input:
        """Return the input of a request whose body has been read."""
        kind, boundary = str(environ.get("CONTENT_TYPE", "")), b""
        if kind.lower().startswith("multipart/"):
            found = _BOUNDARY.search(kind)
            if found:
                kind, boundary = "multipart", found[1].encode("latin-1", "replace")
        head = f"{kind}\n{environ.get('QUERY_STRING', '')}\n".encode("utf-8", "replace")
        return cls(head, boundary, environ.get(BODY_KEY, b""))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the input. It is slow compared with the rest of a request."""
        parts = self.body.split(b"--" + self.boundary) if self.boundary else [self.body]
        made = hashlib.sha256(self.head)
        for part in parts:
            made.update(b"%d\n" % len(part))
            made.update(part)
        return made.hexdigest()
