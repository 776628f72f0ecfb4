"""Release ids of made configurations: equal configurations keep their ids from version to version.

An id that changes makes every host replace every release. A deliberate change of an id belongs into
CHANGELOG.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.archives.resolver import ArchiveResolver
from mms_server.config.mms_conf import read
from mms_server.config.settings import Settings
from mms_server.deploy.desired_state import resolve
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
