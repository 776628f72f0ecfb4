"""Release ids of made configurations: equal configurations keep their ids from version to version.

An id that changes makes every host replace every release. A new field of a release does not change
them if it is marked with ``ADDED_LATER``. A deliberate change of an id belongs into CHANGELOG.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mms_server.archives.resolver import ArchiveResolver
from mms_server.config.mms_conf import read
from mms_server.config.sandbox import Confinement
from mms_server.config.settings import Settings
from mms_server.core.added_fields import ADDED_LATER
from mms_server.core.log_setup import Log
from mms_server.deploy.desired_state import resolve
from mms_server.host.release import Part, Release
from tests.fixtures.fake_host import FakeHost

# The path is a part of the release id. This path exists on every machine, and is no link.
RUNTIME = "/"

PLAIN = ""
OWN = """\
[Gunicorn Arguments]
--workers
optional
--timeout
45

[MXNet Environment Variables]
OMP_NUM_THREADS=1

[Model Settings]
a.keep_warm_s=600
a.request_timeout_ms=1500
a.workers=3
a.max_batch_size=16
a.max_batch_delay_ms=4
a.max_queue=100
a.engine=onnxruntime
a.engine_tolerance=0.01
a.memory_high=40%
a.memory_max=2G
a.tasks_max=64
a.cpu_weight=20
a.unconfined=files, network: asks the feature store
b.engine=onnxruntime
b.request_timeout_ms=250
"""
GROUP = """\
[Model Settings]
a.group=small
a.request_timeout_ms=1500
b.group=small
b.keep_warm_s=600
b.workers=3
b.max_queue=100
b.memory_high=40%
b.memory_max=2G
b.tasks_max=64
b.cpu_weight=20
b.unconfined=network: asks the feature store
b.max_batch_size=1
a.max_batch_delay_ms=0
b.engine=mxnet
"""


@pytest.mark.parametrize(
    ("rest", "ids", "keep_warm_s"),
    [
        (
            PLAIN,
            {"a": "a.b15afe14", "b": "b.b83a3595", "c": "c.ea8e35b7"},
            {"a": 30, "b": 30, "c": 30},
        ),
        (
            OWN,
            {"a": "a.23119865", "b": "b.8af06ed6", "c": "c.0175c035"},
            {"a": 600, "b": 30, "c": 30},
        ),
        (
            GROUP,
            {"a": "small.432ce89c", "b": "small.432ce89c", "c": "c.ea8e35b7"},
            {"a": 600, "b": 600, "c": 30, "small": 600},
        ),
    ],
    ids=["no settings", "settings of each model", "a group"],
)
def test_ids_and_times_are_those_of_the_version_before(
    fake: FakeHost, tmp_path: Path, rest: str, ids: dict[str, str], keep_warm_s: dict[str, int]
) -> None:
    host = fake.host
    wanted = resolve(
        read(fake.write_conf({"a": "1", "b": "2", "c": "3"}, rest)),
        Settings(workers=2, runtime=RUNTIME, keep_warm_s=30),
        ArchiveResolver(host.store, host.fetcher(tmp_path / "download")),
        lambda _text: None,
        log_root=Path("/var/log/mms"),
        take=True,
    )
    assert wanted.ids() == ids
    assert wanted.keep_warm_s == keep_warm_s


@dataclass(frozen=True)
class LaterRelease(Release):
    extra: int = field(default=0, metadata=ADDED_LATER)


@dataclass(frozen=True)
class LaterPart(Part):
    extra: int = field(default=0, metadata=ADDED_LATER)


@dataclass(frozen=True)
class LaterConfinement(Confinement):
    extra: int = field(default=0, metadata=ADDED_LATER)


@dataclass(frozen=True)
class LaterLog(Log):
    extra: int = field(default=0, metadata=ADDED_LATER)


def made(kind: type[Release] = Release, **more: Any) -> Release:
    return kind("m", "ab" * 32, 2, RUNTIME, environment={"OMP_NUM_THREADS": "1"}, **more)


@pytest.mark.parametrize(
    ("now", "later"),
    [
        (made(), lambda extra: made(LaterRelease, extra=extra)),
        (
            made(group={"a": Part("cd" * 32)}),
            lambda extra: made(group={"a": LaterPart("cd" * 32, extra=extra)}),
        ),
        (
            made(confinement=Confinement(tasks_max=64)),
            lambda extra: made(confinement=LaterConfinement(tasks_max=64, extra=extra)),
        ),
        (made(log=Log()), lambda extra: made(log=LaterLog(extra=extra))),
    ],
    ids=["release", "part", "confinement", "log"],
)
def test_a_field_of_a_later_version_changes_no_id_while_it_has_its_default(
    now: Release, later: Callable[[int], Release]
) -> None:
    assert later(0).id == now.id
    assert later(1).id != now.id


def test_a_release_that_an_older_version_wrote_keeps_its_id() -> None:
    written = made().to_json()
    assert "extra" not in written
    assert LaterRelease.from_json(written).id == made().id
