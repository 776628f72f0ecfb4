"""What a release remembers of its deaths: suspects, refusals, and no more than fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.crashes import crash_history
from mms_server.crashes.crash_history import KEPT, MAX_DIGESTS, CrashHistory
from mms_server.crashes.report import Request
from tests.fixtures.crash_reports import DIGEST, certificate


def test_one_death_makes_a_suspect_and_two_a_refusal(tmp_path: Path) -> None:
    first, second = certificate(), certificate()
    known = CrashHistory().after(first)
    assert known.suspects(DIGEST)
    assert known.refuses(DIGEST) == ""
    known = known.after(second)
    assert known.refuses(DIGEST) == second.id
    crash_history.write(tmp_path / "recent.json", known)
    assert crash_history.read(tmp_path / "recent.json") == known


def test_an_input_that_was_in_a_batch_twice_died_once() -> None:
    known = CrashHistory().after(
        certificate(requests=(Request("a", DIGEST, 1), Request("b", DIGEST, 1)))
    )
    assert known.suspects(DIGEST)
    assert not known.refuses(DIGEST)


@pytest.mark.parametrize(
    ("cause", "blamed"),
    [
        ("signal", True),
        ("exit", True),
        ("hang", True),
        ("out-of-memory", True),
        ("timeout", False),
        ("stop", False),
    ],
)
def test_slowness_and_a_stop_blame_no_request(cause: str, blamed: bool) -> None:
    known = CrashHistory().after(certificate(cause=cause)).after(certificate(cause=cause))
    assert bool(known.refuses(DIGEST)) is blamed


def test_a_request_without_a_digest_blames_nothing() -> None:
    row = (Request("id", "", 0.0),)
    known = CrashHistory().after(certificate(requests=row)).after(certificate(requests=row))
    assert known.refuses("") == ""
    assert not known.suspects("")


def test_the_newest_certificate_of_a_request() -> None:
    first, second = certificate(), certificate()
    known = CrashHistory().after(first).after(second)
    assert known.of_request("id-1") == second.id
    assert known.of_request("other") == ""


def test_it_stays_small() -> None:
    known = CrashHistory()
    for number in range(MAX_DIGESTS + 1):
        known = known.after(certificate(requests=(Request("id", f"{number:064x}", 0.0),)))
    assert len(known.deaths) == KEPT
    assert len(known.digests) == MAX_DIGESTS
    assert not known.suspects(f"{0:064x}")
    assert known.suspects(f"{1:064x}")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b'{"deaths": 1}', b"[" * 50_000])
def test_a_file_that_is_none_is_empty(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "recent.json").write_bytes(data)
    assert crash_history.read(tmp_path / "recent.json") == CrashHistory()


def test_words_of_a_stranger_are_not_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "recent.json"
    for changes in ({"id": "<script>"}, {"signal": "SIGSEGV\r\nX: y"}, {"cause": "shout"}):
        known = CrashHistory().after(certificate())
        crash_history.write(file, known)
        text = file.read_text()
        for key, value in changes.items():
            old = str(getattr(known.deaths[0], key))
            file.write_text(text.replace(f'"{old}"', repr(value).replace("'", '"')))
        assert crash_history.read(file) == CrashHistory()
