"""Archives over HTTP (RFC 9110): checked addresses, redirects, ranges, and limits on every wait."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    SSLError,
)

from mms_server.archives.fetching.responses import Reply, StaleRangeError, TransientError, Validator
from mms_server.config.model_uri import Location
from mms_server.config.url_policy import RefusedError, UnresolvedError, UrlPolicy, host_of, port_of
from mms_server.core.errors import ArchiveError

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 30.0
_MAX_REDIRECTS: Final = 5
_CHUNK: Final = 1024 * 1024
_OK, _PARTIAL, _NOT_MODIFIED = 200, 206, 304
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_UNAUTHORIZED: Final = (401, 403)
_NOT_FOUND: Final = (404, 410)
_RANGE_NOT_SATISFIABLE = 416
# Statuses that a later attempt may not get: a time-out, too many requests, a server's failure.
_TRANSIENT: Final = (408, 425, 429, 500, 502, 503, 504)
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
_MAX_RETRY_AFTER_S: Final = 60.0


class HttpSource:
    """One ``http`` or ``https`` location; its user and password are sent to its own host only."""

    def __init__(
        self,
        location: Location,
        rules: UrlPolicy,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._location = location
        self._rules = rules
        self._timeout = urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s)

    @contextmanager
    def open(self, start: int, part: Validator, known: Validator) -> Iterator[Reply]:
        """Request the content: see :class:`mms_server.archives.fetching.responses.Source`."""
        url = urlsplit(self._location.text)
        origin = _origin(url)
        for _ in range(_MAX_REDIRECTS + 1):
            headers = _headers(url, start, part, known)
            if _origin(url) == origin:
                headers |= _authorization(urlsplit(self._location.text))
            with self._answer(url, headers) as answer:
                if answer.status not in _REDIRECTS:
                    yield self._reply(answer, start)
                    return
                url = self._next(url, answer.headers.get("Location", ""))
        raise self._refused(f"it redirects more than {_MAX_REDIRECTS} times.")

    @contextmanager
    def _answer(self, url: SplitResult, headers: Mapping[str, str]) -> Iterator[Any]:
        target = url.path or "/"
        target += f"?{url.query}" if url.query else ""
        failure = TransientError("its host has no address")
        for address in self._addresses(url):
            with _pool(url, address) as pool:
                try:
                    answer = pool.request(
                        "GET",
                        target,
                        headers=headers,
                        redirect=False,
                        retries=False,
                        timeout=self._timeout,
                        preload_content=False,
                        decode_content=False,
                    )
                except (NewConnectionError, ConnectTimeoutError) as error:
                    # A host may have addresses that this machine has no route to.
                    failure = TransientError(_reason(error))
                    continue
                except (HTTPError, OSError) as error:
                    raise self._failed(error) from error
                try:
                    yield answer
                finally:
                    answer.close()
                return
        raise failure

    def _addresses(self, url: SplitResult) -> list[str]:
        try:
            return self._rules.admit(url)
        except RefusedError as error:
            raise self._refused(f"{error}.") from error
        except UnresolvedError as error:
            raise TransientError(str(error)) from error

    def _failed(self, error: BaseException) -> Exception:
        reason = _reason(error)
        if isinstance(error, LocationParseError):
            return self._refused(f"it is not a URL: {reason}.")
        # urllib3 raises a ValueError if the certificate is for another name.
        wrapped = error.args[0] if isinstance(error, SSLError) and error.args else None
        if isinstance(wrapped, ssl.SSLCertVerificationError | ValueError):
            fix = "correct the host's name, its certificate, or this host's authorities."
            return ArchiveError(self._location.shown, f"its certificate is bad: {reason}.", fix=fix)
        return TransientError(reason)

    def _next(self, url: SplitResult, target: str) -> SplitResult:
        try:
            following = urlsplit(urljoin(url.geturl(), target))
        except ValueError as error:
            raise self._refused("it redirects to something that is not a URL.") from error
        if not target:
            raise self._refused("it redirects without saying where.")
        if url.scheme.lower() == "https" and following.scheme.lower() != "https":
            raise self._refused(f"it redirects from https to {following.scheme or 'nothing'}.")
        return following._replace(fragment="")

    def _reply(self, answer: Any, start: int) -> Reply:
        status = answer.status
        validator = Validator(
            answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
        )
        if status == _NOT_MODIFIED and not start:
            return Reply(lambda: b"", validator=validator, unchanged=True)
        if status == _RANGE_NOT_SATISFIABLE and start:
            raise StaleRangeError
        if status not in (_OK, _PARTIAL):
            raise self._failure(status, answer.headers)
        begins, size = 0, _length(answer.headers.get("Content-Length", ""))
        if status == _PARTIAL:
            row = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
            if not row or int(row[1]) != start:
                raise StaleRangeError
            begins, size = start, None if row[2] == "*" else int(row[2])
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise self._refused("its server compresses it although that was not asked for.")
        kind = answer.headers.get("Content-Type", "")
        return Reply(lambda: _read(answer), begins, size, validator, kind)

    def _failure(self, status: int, headers: Mapping[str, str]) -> Exception:
        if status in _TRANSIENT:
            return TransientError(
                f"the server answers {status}", _retry_after(headers.get("Retry-After", ""))
            )
        fix = "open the URL with curl from this host, and correct it."
        if status in _UNAUTHORIZED:
            fix = "give a signed URL, user:password@ in it, or use s3:// with the host's role."
        elif status in _NOT_FOUND:
            fix = "put the archive there, or correct the location."
        cause = f"Failed downloading: the server answers {status}."
        return ArchiveError(self._location.shown, cause, fix=fix)

    def _refused(self, cause: str) -> ArchiveError:
        fix = "correct the location, or name the host in the setting fetch_allow."
        return ArchiveError(self._location.shown, cause, fix=fix)


def _pool(url: SplitResult, address: str) -> urllib3.HTTPConnectionPool:
    """Return a pool that connects to the checked address: the name is not looked up again."""
    name, port = host_of(url).strip("[]"), port_of(url)
    if url.scheme.lower() != "https":
        return urllib3.HTTPConnectionPool(address, port)
    return urllib3.HTTPSConnectionPool(address, port, server_hostname=name, assert_hostname=name)


def _headers(url: SplitResult, start: int, part: Validator, known: Validator) -> dict[str, str]:
    host = url.netloc.rpartition("@")[2]
    # Identity: the digest is of the archive, not of a compressed transfer.
    headers = {"Host": host, "Accept-Encoding": "identity", "User-Agent": "mms-hosts"}
    if start:
        headers["Range"] = f"bytes={start}-"
        etag = part.etag if not part.etag.startswith("W/") else ""
        headers["If-Range"] = etag or part.last_modified
    elif known.etag:
        headers["If-None-Match"] = known.etag
    elif known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    return headers


def _authorization(url: SplitResult) -> dict[str, str]:
    if not url.username:
        return {}
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    try:
        return url.scheme.lower(), url.hostname or "", url.port
    except ValueError:
        return "", "", None


def _read(answer: Any) -> bytes:
    try:
        data: bytes = answer.read1(_CHUNK)
    except (HTTPError, OSError) as error:
        raise TransientError(_reason(error)) from error
    return data


def _reason(error: BaseException) -> str:
    """Return a failure in few words: urllib3 wraps the error that has the reason."""
    inner = getattr(error, "reason", None)
    cause = inner if isinstance(inner, BaseException) else error
    text = str(cause)
    # The repr of a connection object tells an operator nothing.
    return re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?|\(|\)$", "", text) or type(cause).__name__


def _length(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


def _retry_after(text: str) -> float:
    """Return the seconds that ``Retry-After`` asks for (RFC 9110, section 10.2.3), bounded."""
    if re.fullmatch(r"\d{1,9}", text):
        return min(float(text), _MAX_RETRY_AFTER_S)
    try:
        parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    # A date would only be right if both clocks were.
    return _MAX_RETRY_AFTER_S
