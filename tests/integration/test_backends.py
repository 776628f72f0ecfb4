"""Models on other engines on a host, with the sandbox; one whose answers differ is not served."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mms_server.archives import golden_samples
from mms_server.archives.extract import unpack
from mms_server.archives.golden_samples import Sample
from mms_server.inference.model_loader import load_model
from tests import lab
from tests.integration import changes
from tests.integration.load import Load, Request

pytestmark = pytest.mark.fleet

SAMPLES = 32
SETTINGS = """
--workers
2

[Model Settings]
whole.engine=int8
other.engine=onnxruntime
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The digits model with golden samples, as an export with --sample makes it."""
    unpack(lab.MODELS / "digits.model", tmp_path / "unpacked")
    service = load_model("digits", tmp_path / "unpacked").service
    pictures = sorted((lab.MODELS / "images").glob("digit-*.jpg"))[:SAMPLES]
    asked = [Sample((picture.read_bytes(),)) for picture in pictures]
    kept = [
        dataclasses.replace(one, expected=golden_samples.answer_of(service, one)) for one in asked
    ]
    return changes.variant(
        tmp_path / "golden.model", lambda members: members.update(golden_samples.encode(kept))
    )


@pytest.mark.timeout(300)
def test_engines_answer_rightly_and_one_that_differs_is_not_served(
    last: lab.Machine, archive: Path
) -> None:
    models = {"digits": archive, "whole": archive, "other": archive}
    changes.applied(last, changes.put(last, "engines", models, SETTINGS))
    for model, engine in {"whole": "int8", "other": "onnxruntime"}.items():
        unit = f"mms@{changes.releases(last)[model]}"
        journal = lab.on(last, f"journalctl --quiet --output=cat --unit={unit}")
        assert f"{model} is computed by {engine}: a forward takes" in journal
    asked = [Request.of_image(last.address, model, lab.SEVEN, "7") for model in models]
    with Load(asked) as load:
        load.wait_for_answers(200)
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report

    before = changes.releases(last)
    for model in ("whole", "other"):
        unit = f"mms@{before[model]}"
        lab.on(last, f"systemctl restart {unit}", timeout_s=90)
        assert lab.predict(last, model=model)["class"] == "7"
        journal = lab.on(last, f"journalctl --quiet --output=cat --unit={unit}")
        assert journal.count("the converted network was read from the store") == 1

    strict = f"{SETTINGS}whole.engine_tolerance=0.000001\n"
    done = changes.apply(last, changes.put(last, "strict", models, strict))
    assert done.returncode == 4
    assert "model whole, step engine" in done.stderr
    assert "differs from MXNet by more than 1e-06: golden sample " in done.stderr
    assert changes.releases(last) == before
    assert lab.predict(last, model="whole")["class"] == "7"
