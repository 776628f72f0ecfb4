"""Fetches over a real connection: what arrives, what is refused, and what breaks on the way."""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path

import pytest

from mms_server.config import model_uri
from mms_server.core.errors import ArchiveError, FetchError
from tests.fixtures.web_answers import cut, endless, silent, status, whole
from tests.fixtures.web_server import MIB, READ_TIMEOUT_S, Bench, Web

CONTENT = b"PK\x03\x04" + hashlib.shake_128(b"one").digest(3 * MIB)
OTHER = b"PK\x03\x04" + hashlib.shake_128(b"two").digest(3 * MIB)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def have_nothing(_digest: str) -> bool:
    return False


def fetch(bench: Bench, text: str) -> bytes:
    fetched = bench.fetcher.fetch(model_uri.parse(text), have_nothing)
    assert fetched.file is not None
    content = fetched.file.read_bytes()
    assert fetched.sha256 == sha256(content)
    return content


def test_a_query_and_equals_signs_are_sent_as_they_are(bench: Bench, web: Web) -> None:
    web.answers = [whole(CONTENT)]
    assert fetch(bench, web.url("/dir/a.model?sig=a%2Fb==&v=1")) == CONTENT
    ((path, headers),) = web.requests
    assert path == "/dir/a.model?sig=a%2Fb==&v=1"
    assert headers["host"] == f"127.0.0.1:{web.port}"
    assert headers["accept-encoding"] == "identity"
    assert bench.left() == {"archive", "json", "lock"}


def test_unchanged_content_is_not_sent_again(bench: Bench, web: Web) -> None:
    web.answers = [whole(CONTENT, '"1"')]
    fetch(bench, web.url())
    fetched = bench.fetcher.fetch(model_uri.parse(web.url()), lambda d: d == sha256(CONTENT))
    assert (fetched.sha256, fetched.file) == (sha256(CONTENT), None)
    assert web.requests[1][1]["if-none-match"] == '"1"'
    assert "archive" not in bench.left()


def test_without_the_archive_and_the_store_it_is_sent_again(bench: Bench, web: Web) -> None:
    web.answers = [whole(CONTENT, '"1"')]
    fetch(bench, web.url())
    bench.fetcher.discard(model_uri.parse(web.url()))
    assert fetch(bench, web.url()) == CONTENT
    assert "if-none-match" not in web.requests[1][1]


def test_changed_content_under_the_same_name_is_fetched(bench: Bench, web: Web) -> None:
    web.answers = [whole(CONTENT, '"1"')]
    fetch(bench, web.url())
    web.answers = [whole(OTHER, '"2"')]
    assert fetch(bench, web.url()) == OTHER


def test_a_server_that_lies_about_its_etag_is_held_to_the_pin(bench: Bench, web: Web) -> None:
    """An equal ETag for other content must not confirm what the pin does not name."""
    web.answers = [whole(CONTENT, '"1"')]
    fetch(bench, web.url())
    web.answers = [whole(OTHER, '"1"')]
    assert fetch(bench, f"{web.url()}#sha256={sha256(OTHER)}") == OTHER


def test_a_pinned_archive_that_is_there_needs_no_network(bench: Bench) -> None:
    location = model_uri.parse(f"http://127.0.0.1:1/a.model#sha256={sha256(CONTENT).upper()}")
    fetched = bench.fetcher.fetch(location, lambda digest: digest == sha256(CONTENT))
    assert (fetched.sha256, fetched.file) == (sha256(CONTENT), None)
    assert not bench.directory.exists()


def test_a_pin_refuses_other_content(bench: Bench, web: Web) -> None:
    web.answers = [whole(OTHER)]
    with pytest.raises(ArchiveError, match=f"is {sha256(OTHER)}, not the pinned {sha256(CONTENT)}"):
        fetch(bench, f"{web.url()}#sha256={sha256(CONTENT)}")
    assert bench.left() <= {"lock"}


def test_a_broken_connection_is_continued(bench: Bench, web: Web) -> None:
    web.answers = [cut(CONTENT, MIB, '"1"'), cut(CONTENT, 2 * MIB, '"1"'), whole(CONTENT, '"1"')]
    assert fetch(bench, web.url()) == CONTENT
    ranges = [headers.get("range", "") for _, headers in web.requests]
    assert ranges == ["", f"bytes={MIB}-", f"bytes={2 * MIB}-"]
    assert web.requests[1][1]["if-range"] == '"1"'
    assert any("IncompleteRead" in text or "again in" in text for text in bench.reports)


def test_the_next_run_continues_what_a_killed_one_left(bench: Bench, web: Web) -> None:
    web.answers = [cut(CONTENT, MIB, '"1"'), status(404)]
    with pytest.raises(ArchiveError):
        fetch(bench, web.url())
    web.answers = [whole(CONTENT, '"1"')]
    assert fetch(bench, web.url()) == CONTENT
    assert web.requests[-1][1]["range"] == f"bytes={MIB}-"


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_without_a_strong_validator_it_begins_anew(bench: Bench, web: Web, etag: str) -> None:
    web.answers = [cut(CONTENT, MIB, etag), whole(CONTENT)]
    assert fetch(bench, web.url()) == CONTENT
    assert "range" not in web.requests[1][1]


def test_content_that_changed_meanwhile_is_never_mixed(bench: Bench, web: Web) -> None:
    web.answers = [cut(CONTENT, MIB, '"1"'), whole(OTHER, '"2"')]
    assert fetch(bench, web.url()) == OTHER


def test_content_that_became_shorter_is_fetched_anew(bench: Bench, web: Web) -> None:
    short = OTHER[:1000]
    web.answers = [cut(CONTENT, MIB, '"1"'), status(416), whole(short, '"2"')]
    assert fetch(bench, web.url()) == short


def test_a_range_that_was_not_asked_for_is_not_taken(bench: Bench, web: Web) -> None:
    wrong = status(206, CONTENT[5:], Content_Range=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}")
    web.answers = [cut(CONTENT, MIB, '"1"'), wrong, whole(CONTENT, '"1"')]
    assert fetch(bench, web.url()) == CONTENT


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_be_gone_soon_is_tried_again(bench: Bench, web: Web, code: int) -> None:
    web.answers = [status(code), status(code, Retry_After="7"), whole(CONTENT)]
    assert fetch(bench, web.url()) == CONTENT
    assert bench.waits.slept == [1.0, 7.0]


def test_it_gives_up_after_five_attempts(bench: Bench, web: Web) -> None:
    web.answers = [status(503)]
    with pytest.raises(FetchError, match="the server answers 503, 5 times in a row"):
        fetch(bench, web.url())
    assert len(web.requests) == 5
    assert bench.waits.slept == [1.0, 2.0, 4.0, 8.0]


def test_a_server_may_not_ask_for_a_long_wait(bench: Bench, web: Web) -> None:
    web.answers = [status(503, Retry_After="999999999"), whole(CONTENT)]
    assert fetch(bench, web.url()) == CONTENT
    assert bench.waits.slept == [60.0]


def test_the_whole_time_is_limited(bench: Bench, web: Web) -> None:
    bench.timeout_s = 5.0
    web.answers = [status(503, Retry_After="50")]
    with pytest.raises(FetchError, match=r"not fetched in 5 s \(the server answers 503\)"):
        fetch(bench, web.url())


def test_a_server_that_says_nothing_is_left(bench: Bench, web: Web) -> None:
    web.answers = [silent(READ_TIMEOUT_S * 3), whole(CONTENT)]
    assert fetch(bench, web.url()) == CONTENT


def test_a_refused_connection_is_tried_again(bench: Bench) -> None:
    with pytest.raises(FetchError, match="5 times in a row"):
        fetch(bench, "http://127.0.0.1:9/a.model")


@pytest.mark.parametrize(
    ("code", "fix"),
    [(400, "curl"), (401, "s3://"), (403, "signed URL"), (404, "put the archive there")],
)
def test_what_stays_wrong_is_not_tried_again(bench: Bench, web: Web, code: int, fix: str) -> None:
    web.answers = [status(code, b"no")]
    with pytest.raises(ArchiveError, match=f"the server answers {code}") as caught:
        fetch(bench, web.url("/a.model?secret=x"))
    assert fix in caught.value.fix
    assert "secret" not in str(caught.value)
    assert len(web.requests) == 1


@pytest.mark.parametrize("announced", [True, False])
def test_size_just_under_and_just_over(bench: Bench, web: Web, *, announced: bool) -> None:
    bench.max_bytes = len(CONTENT)
    web.answers = [whole(CONTENT)]
    assert fetch(bench, web.url("/under")) == CONTENT
    web.answers = [whole(CONTENT + b"x") if announced else endless()]
    with pytest.raises(ArchiveError, match=f"larger than {len(CONTENT)} bytes"):
        fetch(bench, web.url("/over"))
    assert "part" not in bench.left()


def test_a_web_page_is_named_as_such(bench: Bench, web: Web) -> None:
    web.answers = [whole(b"<html>Log in</html>", Content_Type="text/html")]
    with pytest.raises(ArchiveError, match=r"not a model archive .Content-Type text/html"):
        fetch(bench, web.url())
    assert bench.left() <= {"lock"}


def test_compressed_content_is_refused(bench: Bench, web: Web) -> None:
    web.answers = [whole(CONTENT, Content_Encoding="gzip")]
    with pytest.raises(ArchiveError, match="compresses it"):
        fetch(bench, web.url())


def test_redirects_are_followed_and_counted(bench: Bench, web: Web) -> None:
    hops = [status(code, Location=f"/{code}?q=1") for code in (301, 302, 303, 307, 308)]
    web.answers = [*hops, whole(CONTENT)]
    assert fetch(bench, web.url()) == CONTENT
    assert [path for path, _ in web.requests][1:] == [
        f"/{code}?q=1" for code in (301, 302, 303, 307, 308)
    ]
    web.answers = [*hops, status(302, Location="/6"), whole(CONTENT)]
    with pytest.raises(ArchiveError, match="redirects more than 5 times"):
        fetch(bench, web.url("/other"))


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("http://169.254.169.254/latest/", "169.254.169.254 is not in fetch_allow"),
        ("http://localhost:1/a", "localhost is not in fetch_allow"),
        ("http://[::ffff:127.0.0.1]/a", "not in fetch_allow"),
        ("file:///etc/passwd", "file is not http or https"),
        ("ftp://127.0.0.1/a", "ftp is not http or https"),
        ("http://127.0.0.1:0/", "its port is 0"),
        ("http://[::1", "not a URL"),
        ("", "without saying where"),
    ],
)
def test_a_redirect_leads_nowhere_that_is_not_allowed(
    bench: Bench, web: Web, target: str, cause: str
) -> None:
    web.answers = [status(302, Location=target)]
    with pytest.raises(ArchiveError, match=cause):
        fetch(bench, web.url())
    assert len(web.requests) == 1


def test_a_redirect_to_credentials_is_refused_even_where_everything_public_is_allowed(
    bench: Bench, web: Web
) -> None:
    bench.words = ("127.0.0.1", "public")
    web.answers = [status(302, Location="http://169.254.169.254/latest/")]
    with pytest.raises(ArchiveError, match="where archives are never fetched from"):
        fetch(bench, web.url())


def test_credentials_are_sent_to_their_own_host_only(bench: Bench, web: Web) -> None:
    bench.words = ("127.0.0.1", "localhost")
    elsewhere = f"http://localhost:{web.port}/b"
    web.answers = [status(302, Location=elsewhere), whole(CONTENT)]
    with_user = web.url().replace("//", "//user:w%40rd@")
    assert fetch(bench, with_user) == CONTENT
    first, second = (headers for _, headers in web.requests)
    assert first["authorization"] == "Basic dXNlcjp3QHJk"
    assert first["host"] == f"127.0.0.1:{web.port}"
    assert "authorization" not in second
    assert not any("w%40rd" in text or "w@rd" in text for text in bench.reports)


def test_headers_never_name_files(bench: Bench, web: Web) -> None:
    web.answers = [whole(CONTENT, '"../../x"', Content_Disposition="attachment; filename=/tmp/x")]
    assert fetch(bench, web.url("/..%2f..%2fx")) == CONTENT
    parents = {path.parent for path in bench.directory.parent.rglob("*") if path.is_file()}
    assert parents == {bench.directory}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sha256": 5, "etag": []}', '{"sha256": "../x"}'])
def test_a_damaged_record_costs_a_download_only(bench: Bench, web: Web, text: str) -> None:
    web.answers = [whole(CONTENT, '"1"')]
    fetch(bench, web.url())
    (record,) = bench.directory.glob("*.json")
    record.write_text(text)
    assert fetch(bench, web.url()) == CONTENT


def test_progress_is_told(bench: Bench, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.answers = [whole(CONTENT)]
    times = iter(range(0, 100000, 3))
    monkeypatch.setattr(bench.waits, "clock", lambda: next(times))
    fetch(bench, web.url())
    assert any(" of 3.0 MiB" in text for text in bench.reports)


def test_old_files_go_and_fresh_ones_stay(bench: Bench, web: Web) -> None:
    web.answers = [whole(CONTENT, '"1"')]
    fetch(bench, web.url())
    (archive,) = bench.directory.glob("*.archive")
    day, born = 24 * 3600, archive.stat().st_mtime
    stale = bench.fetcher.stale
    assert stale(born + day - 1) == []
    assert stale(born + day + 1) == [archive]
    assert {path.suffix for path in stale(born + 91 * day)} == {".archive", ".json", ".lock"}


def test_two_at_once_fetch_one_after_the_other(bench: Bench, web: Web, tmp_path: Path) -> None:
    web.answers = [whole(CONTENT)]
    fetch(bench, web.url())
    (lock,) = bench.directory.glob("*.lock")
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another process has been fetching it"):
            fetch(bench, web.url())
    assert fetch(bench, web.url()) == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["fetched"]
