"""Archives in S3, ``s3://bucket/key[?versionId=...]``, by boto3 with the host's own credentials.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError

from mms_server.archives.fetching.http import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from mms_server.archives.fetching.responses import Reply, StaleRangeError, TransientError, Validator
from mms_server.config.model_uri import Location
from mms_server.config.url_policy import RefusedError, UrlPolicy
from mms_server.core.errors import ArchiveError

_CHUNK: Final = 1024 * 1024
_NOT_MODIFIED, _PRECONDITION_FAILED, _RANGE_NOT_SATISFIABLE = 304, 412, 416
_FORBIDDEN, _NOT_FOUND, _BAD_REQUEST = 403, 404, 400
_TOO_MANY, _SERVER_ERROR = 429, 500
_QUERY: Final = "versionId"
# Public objects can be fetched through any region: it only selects the first address.
_DEFAULT_REGION: Final = "us-east-1"

Client = Callable[[], Any]


def make_client() -> Any:
    """Return an S3 client of the environment: signed if there are credentials, else anonymous."""
    session = boto3.session.Session()
    # One attempt: the fetcher retries, and resumes where an attempt broke off.
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": 1, "mode": "standard"},
        signature_version=None if session.get_credentials() else UNSIGNED,
    )
    return session.client("s3", region_name=session.region_name or _DEFAULT_REGION, config=config)


class S3Source:
    """One object of a bucket."""

    def __init__(self, location: Location, rules: UrlPolicy, client: Client = make_client) -> None:
        """Read the location.

        Raises:
            ArchiveError: the location is malformed, or the rules do not allow it.
        """
        self._location = location
        self._client = client
        rest = location.text.split("://", 1)[1]
        rest, mark, query = rest.partition("?")
        bucket, _, key = rest.partition("/")
        self._bucket, self._key = bucket, unquote(key)
        self._version = ""
        if mark:
            values = parse_qs(query, keep_blank_values=True)
            if set(values) != {_QUERY} or len(values[_QUERY]) != 1 or not values[_QUERY][0]:
                cause = f"?{query} is not understood."
                raise self._bad(cause, f"write s3://bucket/key or s3://bucket/key?{_QUERY}=ID.")
            self._version = values[_QUERY][0]
        try:
            rules.admit_object(location.scheme, self._bucket, self._key)
        except RefusedError as error:
            fix = "correct the location, or name s3://bucket in the setting fetch_allow."
            raise self._bad(f"{error}.", fix) from error

    @contextmanager
    def open(self, start: int, part: Validator, known: Validator) -> Iterator[Reply]:
        """Request the object: see :class:`mms_server.archives.fetching.responses.Source`."""
        wanted: dict[str, str] = {"Bucket": self._bucket, "Key": self._key}
        if self._version:
            wanted["VersionId"] = self._version
        if start:
            wanted |= {"Range": f"bytes={start}-", "IfMatch": part.etag}
        elif known.etag:
            wanted["IfNoneMatch"] = known.etag
        try:
            client = self._client()
            answer = client.get_object(**wanted)
        except ClientError as error:
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if status == _NOT_MODIFIED and not start:
                yield Reply(lambda: b"", validator=known, unchanged=True)
                return
            raise self._failure(status, error) from error
        except (NoCredentialsError, PartialCredentialsError, ParamValidationError) as error:
            raise self._bad(f"{error}", "correct the host's AWS configuration.") from error
        except (BotoCoreError, HTTPError, OSError) as error:
            raise TransientError(str(error)) from error
        body = answer["Body"]
        try:
            yield Reply(
                read=lambda: _read(body),
                start=start,
                size=start + int(answer["ContentLength"]),
                validator=Validator(answer.get("ETag", ""), "", answer.get("VersionId", "")),
                content_type=answer.get("ContentType", ""),
            )
        finally:
            body.close()

    def _failure(self, status: int, error: ClientError) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if status in (_PRECONDITION_FAILED, _RANGE_NOT_SATISFIABLE):
            return StaleRangeError()
        if status == _FORBIDDEN:
            fix = (
                f"allow s3:GetObject (and s3:ListBucket, which tells absent from forbidden) on "
                f"arn:aws:s3:::{self._bucket}/{self._key} to the role of this host."
            )
            return self._bad(f"S3 refuses access ({code}).", fix)
        if status == _NOT_FOUND or code in ("NoSuchKey", "NoSuchBucket", "NoSuchVersion"):
            return self._bad(f"S3 has no such object ({code}).", "correct the location.")
        if status == _TOO_MANY or status >= _SERVER_ERROR or not status:
            return TransientError(f"S3 answers {status} {code}")
        return self._bad(f"S3 answers {status} {code}.", "correct the location.")

    def _bad(self, cause: str, fix: str) -> ArchiveError:
        return ArchiveError(self._location.shown, cause, fix=fix)


def _read(body: Any) -> bytes:
    try:
        data: bytes = body.read(_CHUNK)
    except (BotoCoreError, HTTPError, OSError) as error:
        raise TransientError(str(error)) from error
    return data
