"""The effect of [Model Settings] of mms.conf on a release."""

from __future__ import annotations

import pytest

from mms_server.cli.output import status_text
from mms_server.core.errors import ConfError
from mms_server.deploy.apply import apply, plan
from mms_server.deploy.operate import status
from mms_server.host import generations
from tests.fixtures.fake_host import FakeHost


def test_workers_of_one_model_override_those_of_all(fake: FakeHost) -> None:
    rest = "[Gunicorn Arguments]\n--workers\n3\n[Model Settings]\nb.workers=1\n"
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}, rest))
    generation = generations.newest(fake.layout)
    assert generation is not None
    found = {model: fake.host.release(name) for model, name in generation.models.items()}
    assert {model: row.workers for model, row in found.items() if row} == {"a": 3, "b": 1}


def test_another_engine_is_a_change_and_a_risk(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    conf = fake.write_conf({"a": "1"}, "[Model Settings]\na.engine=onnxruntime\n")
    outcome = plan(fake.host, conf)
    changes = {row.name: (row.before, row.after) for row in outcome.changes["a"]}
    assert changes["engine"] == ("mxnet", "onnxruntime")
    assert any("the engine changes from mxnet to onnxruntime" in text for text in outcome.risks)
    apply(fake.host, conf)
    assert "a is computed by onnxruntime" in status_text(*status(fake.host))


def test_int8_without_samples_is_refused_before_anything_changes(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"}, "[Model Settings]\na.engine=int8\n")
    for act in (plan, apply):
        with pytest.raises(ConfError, match="calibrated with golden samples, and there are none"):
            act(fake.host, conf)
    assert generations.newest(fake.layout) is None
