"""Archives in S3: boto3 against moto's server, over real connections."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from mms_server.archives.fetching.responses import Reply, Validator
from mms_server.archives.fetching.s3 import S3Source, make_client
from mms_server.config import model_uri
from mms_server.config.url_policy import UrlPolicy
from mms_server.core.errors import ArchiveError, FetchError
from tests.fixtures.web_server import MIB, Bench

CONTENT = b"PK\x03\x04" + hashlib.shake_128(b"one").digest(2 * MIB)
OTHER = b"PK\x03\x04" + hashlib.shake_128(b"two").digest(2 * MIB)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    yield client
    for version in client.list_object_versions(Bucket="models").get("Versions", []):
        client.delete_object(Bucket="models", Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket="models")
    server.stop()


def fetch(bench: Bench, text: str) -> bytes:
    bench.words = ("s3://models",)
    fetched = bench.fetcher.fetch(model_uri.parse(text), lambda _digest: False)
    assert fetched.file is not None
    return fetched.file.read_bytes()


def test_an_object_its_change_and_its_versions(bench: Bench, s3: Any) -> None:
    versioning = {"Status": "Enabled"}
    s3.put_bucket_versioning(Bucket="models", VersioningConfiguration=versioning)
    first = s3.put_object(Bucket="models", Key="a/b c.model", Body=CONTENT)["VersionId"]
    assert fetch(bench, "s3://models/a/b%20c.model") == CONTENT
    s3.put_object(Bucket="models", Key="a/b c.model", Body=OTHER)
    assert fetch(bench, "s3://models/a/b%20c.model") == OTHER
    assert fetch(bench, f"s3://models/a/b%20c.model?versionId={first}") == CONTENT


def test_unchanged_objects_are_not_sent_again(bench: Bench, s3: Any) -> None:
    s3.put_object(Bucket="models", Key="a.model", Body=CONTENT)
    fetch(bench, "s3://models/a.model")
    digest = hashlib.sha256(CONTENT).hexdigest()
    fetched = bench.fetcher.fetch(model_uri.parse("s3://models/a.model"), lambda d: d == digest)
    assert (fetched.sha256, fetched.file) == (digest, None)


def test_a_part_is_continued_if_the_object_is_still_the_same(bench: Bench, s3: Any) -> None:
    etag = s3.put_object(Bucket="models", Key="a.model", Body=CONTENT)["ETag"]
    source = S3Source(model_uri.parse("s3://models/a.model"), UrlPolicy(["public"]))
    with source.open(MIB, Validator(etag), Validator()) as reply:
        assert (reply.start, reply.size) == (MIB, len(CONTENT))
        assert reply.read() + reply.read() == CONTENT[MIB:]


def test_a_broken_connection_is_continued(
    bench: Bench, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket="models", Key="a.model", Body=CONTENT)
    starts: list[int] = []
    whole = S3Source.open

    @contextmanager
    def cut(source: S3Source, start: int, part: Validator, known: Validator) -> Iterator[Reply]:
        starts.append(start)
        with whole(source, start, part, known) as reply:
            if start:
                yield reply
                return
            parts = iter([reply.read()])
            yield Reply(lambda: next(parts, b""), 0, reply.size, reply.validator)

    monkeypatch.setattr(S3Source, "open", cut)
    assert fetch(bench, "s3://models/a.model") == CONTENT
    assert starts == [0, MIB]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("s3://models/none.model", "no such object .NoSuchKey"),
        ("s3://other/a.model", "s3://other is not in fetch_allow"),
        ("s3://models/a.model?version=1", r"\?version=1 is not understood"),
        ("s3://models/a.model?versionId=", "is not understood"),
    ],
)
def test_refusals(bench: Bench, s3: Any, text: str, cause: str) -> None:
    with pytest.raises(ArchiveError, match=cause) as caught:
        fetch(bench, text)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("status", "code", "error", "cause"),
    [
        (403, "AccessDenied", ArchiveError, "S3 refuses access .AccessDenied"),
        (400, "AuthorizationHeaderMalformed", ArchiveError, "S3 answers 400"),
        (503, "SlowDown", FetchError, "S3 answers 503 SlowDown, 5 times in a row"),
        (500, "InternalError", FetchError, "S3 answers 500"),
    ],
)
def test_errors_of_the_service(
    bench: Bench, status: int, code: str, error: type[Exception], cause: str
) -> None:
    class Client:
        def get_object(self, **_: Any) -> Any:
            answer = {
                "Error": {"Code": code, "Message": ""},
                "ResponseMetadata": {"HTTPStatusCode": status},
            }
            raise ClientError(answer, "GetObject")  # type: ignore[arg-type]

    bench.source = lambda location, rules: S3Source(location, rules, Client)
    with pytest.raises(error, match=cause):
        fetch(bench, "s3://models/a.model")


def test_without_credentials_the_request_is_anonymous(
    s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert make_client().meta.config.signature_version is not None
    s3.put_object(Bucket="models", Key="a.model", Body=CONTENT, ACL="public-read")
    answer = make_client().get_object(Bucket="models", Key="a.model")
    assert answer["ContentLength"] == len(CONTENT)
