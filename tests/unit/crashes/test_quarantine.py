"""The guard of a worker: digests, refusals, and bodies kept for replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mms_server.core.errors import QuarantinedError
from mms_server.crashes import crash_history
from mms_server.crashes.crash_history import CrashHistory
from mms_server.crashes.in_flight_log import InFlightLog
from mms_server.crashes.input_digest import Input
from mms_server.crashes.quarantine import MAX_BODIES, ReleaseQuarantine
from mms_server.crashes.report import Request
from mms_server.host.instance_files import MAX_BODY_BYTES
from tests.fixtures.crash_reports import certificate, instance_files


def environ(data: bytes = b"input", kind: str = "image/jpeg", **more: str) -> dict[str, Any]:
    return {"mms.body": data, "CONTENT_TYPE": kind, "PATH_INFO": "/digits/predict", **more}


def form(boundary: str, data: bytes = b"picture") -> dict[str, Any]:
    mark = b"--" + boundary.encode()
    return environ(
        mark + b"\r\n\r\n" + data + b"\r\n" + mark + b"--\r\n",
        f"multipart/form-data; boundary={boundary}",
    )


def make(root: Path) -> tuple[ReleaseQuarantine, InFlightLog]:
    in_flight = InFlightLog(instance_files(root).in_flight)
    quarantine = ReleaseQuarantine(instance_files(root), in_flight, lambda: 5, lambda: 9.0)
    quarantine.begin(2)
    return quarantine, in_flight


def learn(root: Path, in_flight: InFlightLog, digest: str, deaths: int) -> str:
    known, last = CrashHistory(), ""
    for _ in range(deaths):
        made = certificate(requests=(Request("id", digest, 0.0),))
        known, last = known.after(made), made.id
    crash_history.write(instance_files(root).recent, known)
    in_flight.next_epoch()
    return last


def digest_of(environ: dict[str, Any]) -> str:
    return Input.of(environ).digest


def test_the_same_input_has_the_same_digest() -> None:
    assert digest_of(form("one")) == digest_of(form("another-boundary"))
    assert digest_of(environ()) == digest_of(environ(PATH_INFO="/predictions/digits"))


@pytest.mark.parametrize(
    "other",
    [environ(b"inpuT"), environ(kind="image/png"), environ(QUERY_STRING="k=5"), form("one")],
    ids=["body", "type", "query", "form"],
)
def test_another_input_has_another_digest(other: dict[str, Any]) -> None:
    assert digest_of(other) != digest_of(environ())


def test_a_request_is_in_flight_while_it_is_computed(tmp_path: Path) -> None:
    quarantine, in_flight = make(tmp_path)
    given = quarantine.admit(environ())
    with quarantine.computing(("id", given)):
        (found,) = in_flight.take(2).in_flight
    assert "digest" not in vars(given), "it takes longer than all else here, and none asks for it"
    assert (found.request_id, found.digest) == ("id", given.digest)
    assert (found.started, found.resident_bytes) == (9.0, 5)
    with pytest.raises(ValueError, match="x"), quarantine.computing(("id", given)):
        raise ValueError("x")
    assert in_flight.take(2).in_flight == ()


def test_two_deaths_refuse_the_input_and_no_other(tmp_path: Path) -> None:
    quarantine, in_flight = make(tmp_path)
    digest = quarantine.admit(environ()).digest
    learn(tmp_path, in_flight, digest, 1)
    assert quarantine.admit(environ()).digest == digest
    last = learn(tmp_path, in_flight, digest, 2)
    with pytest.raises(QuarantinedError, match=last):
        quarantine.admit(environ())
    quarantine.admit(environ(b"innocent"))


def test_a_suspect_is_kept_before_it_may_kill_again(tmp_path: Path) -> None:
    quarantine, in_flight = make(tmp_path)
    digest = quarantine.admit(environ()).digest
    assert list(instance_files(tmp_path).suspects.iterdir()) == []
    learn(tmp_path, in_flight, digest, 1)
    quarantine.admit(environ())
    quarantine.admit(environ(b"sent again", HTTP_X_MMS_AGAIN="1"))
    head, _, data = (instance_files(tmp_path).suspects / digest).read_bytes().partition(b"\n")
    assert data == b"input"
    assert json.loads(head)["content_type"] == "image/jpeg"
    assert len(list(instance_files(tmp_path).suspects.iterdir())) == 2


def test_what_a_process_died_on_is_computed_apart(tmp_path: Path) -> None:
    quarantine, in_flight = make(tmp_path)
    given = quarantine.admit(environ())
    assert not quarantine.must_run_alone(environ(), given)
    assert quarantine.must_run_alone(environ(HTTP_X_MMS_AGAIN="1"), given)
    learn(tmp_path, in_flight, given.digest, deaths=1)
    assert quarantine.must_run_alone(environ(), quarantine.admit(environ()))
    other = environ(b"other")
    assert not quarantine.must_run_alone(other, quarantine.admit(other))


def test_a_suspect_that_is_answered_is_none_any_more(tmp_path: Path) -> None:
    quarantine, in_flight = make(tmp_path)
    digest = quarantine.admit(environ()).digest
    learn(tmp_path, in_flight, digest, 1)
    with (
        pytest.raises(ValueError, match="x"),
        quarantine.computing(("id", quarantine.admit(environ()))),
    ):
        raise ValueError("x")
    assert list(instance_files(tmp_path).answered.iterdir()) == []
    with quarantine.computing(("id", quarantine.admit(environ()))):
        pass
    assert [path.name for path in instance_files(tmp_path).answered.iterdir()] == [digest]
    body = instance_files(tmp_path).suspects / digest
    body.unlink()
    quarantine.admit(environ())
    assert not body.exists(), "it need not be kept again"


@pytest.mark.parametrize(("size", "kept"), [(MAX_BODY_BYTES, True), (MAX_BODY_BYTES + 1, False)])
def test_the_limit_of_a_kept_body(tmp_path: Path, size: int, kept: bool) -> None:
    quarantine, _flights = make(tmp_path)
    quarantine.admit(environ(bytes(size), HTTP_X_MMS_AGAIN="1"))
    assert bool(list(instance_files(tmp_path).suspects.iterdir())) is kept


def test_the_limit_of_bodies(tmp_path: Path) -> None:
    quarantine, _flights = make(tmp_path)
    for number in range(MAX_BODIES + 3):
        quarantine.admit(environ(str(number).encode(), HTTP_X_MMS_AGAIN="1"))
    assert len(list(instance_files(tmp_path).suspects.iterdir())) == MAX_BODIES


def test_a_directory_that_is_gone_costs_no_answer(tmp_path: Path) -> None:
    quarantine, _flights = make(tmp_path)
    instance_files(tmp_path).suspects.rmdir()
    assert quarantine.admit(environ(HTTP_X_MMS_AGAIN="1")).digest
