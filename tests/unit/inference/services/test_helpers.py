"""Tests of the helpers of 0.4 that service files import besides the classes."""

from __future__ import annotations

import mxnet as mx
import pytest

from mms.log import get_logger
from mms.metrics_manager import MetricsManager
from mms.utils.mxnet import ndarray, nlp
from mms_server.metrics.stage_timing import Stages, collecting


def test_sentences_are_encoded_as_numbers() -> None:
    rows, vocabulary = nlp.encode_sentences([["a", "b"], ["b", "c"]], start_label=1)
    assert rows == [[1, 2], [2, 3]]
    assert vocabulary == {"\n": -1, "a": 1, "b": 2, "c": 3}
    assert nlp.encode_sentences([["c", "a"]], vocab=vocabulary) == ([[3, 1]], vocabulary)
    with pytest.raises(AssertionError, match="Unknown token d"):
        nlp.encode_sentences([["d"]], vocab=vocabulary)


@pytest.mark.parametrize(("words", "length"), [(1, 2), (2, 2), (3, 4), (4, 4)])
def test_a_sentence_is_padded_to_the_smallest_bucket(words: int, length: int) -> None:
    batch = nlp.pad_sentence([7] * words, [2, 4], invalid_label=0, data_name="text")
    assert batch.data[0].asnumpy().tolist() == [[7.0] * words + [0.0] * (length - words)]
    assert batch.bucket_key == length
    assert batch.provide_data[0].name == "text"
    assert batch.provide_data[0].shape == (1, length)


def test_layout_tn_and_sentences_that_are_too_long() -> None:
    batch = nlp.pad_sentence([7, 8], [3], layout="TN")
    assert batch.data[0].asnumpy().tolist() == [[7.0], [8.0], [-1.0]]
    assert batch.provide_data[0].shape == (3, 1)
    with pytest.raises(ValueError, match="has 4 words; the most is 3"):
        nlp.pad_sentence([1] * 4, [3])
    with pytest.raises(ValueError, match="the most is 0"):
        nlp.pad_sentence([1], [])


def test_the_most_probable_classes_of_one_row() -> None:
    rows = ndarray.top_probability(mx.nd.array([0.1, 0.7, 0.2]), ["a", "b", "c"], top=2)
    assert [row["class"] for row in rows] == ["b", "c"]


def test_get_logger_accepts_the_parameters_of_0_4() -> None:
    assert get_logger("model", "file.log", "INFO", rotate_value="H").name == "mms.model"


def test_latencies_become_stages_of_the_prediction() -> None:
    metrics = MetricsManager.metrics
    stages = Stages()
    key = "resnet_18_LatencyInference"
    with collecting(stages):
        if key in metrics:
            metrics[key].update(12.5)
        metrics["m_LatencyPreprocess"].update(metric=2)
        metrics["m_LatencyOverall"].update(99)
        metrics["m_PredictionTotal"].update(1)
        metrics["m_LatencyPostprocess"].update("no number")
    assert stages.seconds == {"inference": 0.0125, "preprocess": 0.002}
    assert (metrics[key].model_name, metrics[key].unit) == ("resnet_18", "Milliseconds")
    metrics[key].update(1)  # no effect outside of a prediction


@pytest.mark.parametrize("key", ["resnet", "resnet_Faces", "_LatencyInference", "LatencyInference"])
def test_unknown_metrics_are_missing(key: str) -> None:
    assert key not in MetricsManager.metrics
    assert MetricsManager.metrics.get(key) is None
    with pytest.raises(KeyError):
        MetricsManager.metrics[key]


def test_entries_of_service_files_are_kept() -> None:
    metrics, faces = MetricsManager.metrics, object()
    metrics["m_Faces"] = faces
    assert (metrics["m_Faces"], list(metrics), len(metrics)) == (faces, ["m_Faces"], 1)
    del metrics["m_Faces"]
    assert "m_Faces" not in metrics
