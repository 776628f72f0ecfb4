"""Rows about Gluon models and further imports of service files (compatibility.md, 8 and 10)."""

from __future__ import annotations

import json

from tests.compat.replay import assert_close, same
from tests.compat.rows import Ground, kept
from tests.compat.rows_services import all_of, has, load

_MXNET = "mms.model_service.mxnet_model_service"
_GLUON_VISION = "mms.model_service.gluon_vision_service"


def _loads(ground: Ground) -> None:
    service = load(ground, "gluon").service
    assert service.net is not None
    assert service.model_name == "gluon"
    recorded = ground.recordings["gunicorn"]["gluon"]["answer"]["body"]
    theirs = json.loads(recorded)["prediction"]
    assert_close(service.inference([[[1, 2, 3], [4, 5, 6]]]), theirs, 1e-5)


ROWS = (
    kept(
        "8.2",
        "A Gluon-Imperative archive needs no Symbol; the service's net loads its parameters.",
        all_of(_loads, same("gluon")),
    ),
    kept(
        "10",
        "GluonImperativeBaseService and GluonVisionService exist.",
        all_of(
            has(
                _MXNET,
                "GluonImperativeBaseService",
                *("model_name", "model_dir", "manifest", "net=None", "gpu=None"),
            ),
            has(_GLUON_VISION, "GluonVisionService"),
        ),
    ),
    kept(
        "10",
        "nlp.encode_sentences, nlp.pad_sentence and MetricsManager.metrics exist.",
        all_of(
            has("mms.utils.mxnet.nlp", "encode_sentences"),
            has("mms.utils.mxnet.nlp", "pad_sentence"),
            has("mms.metrics_manager", "MetricsManager"),
        ),
    ),
)
