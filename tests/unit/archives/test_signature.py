"""Signatures are read strictly: a bad one is refused before anything is served."""

from __future__ import annotations

import json

import pytest

from mms_server.archives.signature import Signature, Tensor
from mms_server.core.errors import ArchiveError

GOOD: dict[str, object] = {
    "inputs": [{"data_name": "data", "data_shape": [0, 3, 8, 8]}],
    "input_type": "image/jpeg",
    "outputs": [{"data_name": "softmax", "data_shape": [0, 10]}],
    "output_type": "application/json",
}


def parse(**changes: object) -> Signature:
    data = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    return Signature.from_json(json.dumps(data), "digits.model")


def test_reads_inputs_outputs_and_types() -> None:
    assert parse() == Signature(
        inputs=(Tensor("data", (0, 3, 8, 8)),),
        input_type="image/jpeg",
        outputs=(Tensor("softmax", (0, 10)),),
        output_type="application/json",
    )


def test_outputs_may_be_missing() -> None:
    assert parse(outputs=None).outputs == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inputs": None}, "no list named inputs"),
        ({"inputs": []}, "has no inputs"),
        ({"inputs": {"data_name": "data"}}, "no list named inputs"),
        ({"inputs": ["data"]}, "no data_name"),
        ({"inputs": [{"data_shape": [0, 3]}]}, "no data_name"),
        ({"inputs": [{"data_name": "", "data_shape": [0, 3]}]}, "no data_name"),
        ({"inputs": [{"data_name": "data", "data_shape": []}]}, "whole numbers"),
        ({"inputs": [{"data_name": "data", "data_shape": [0, -1]}]}, "whole numbers"),
        ({"inputs": [{"data_name": "data", "data_shape": [0, True]}]}, "whole numbers"),
        ({"inputs": [{"data_name": "data", "data_shape": [0, 1.5]}]}, "whole numbers"),
        ({"inputs": [{"data_name": "a", "data_shape": [1]}] * 2}, "twice"),
        ({"input_type": "image/png"}, "'image/png'"),
        ({"output_type": None}, "output_type in signature.json is None"),
        ({"outputs": "softmax"}, "no list named outputs"),
    ],
)
def test_refuses(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ArchiveError, match=says) as caught:
        parse(**changes)
    assert "digits.model" in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_refuses_what_is_no_json_object(text: str) -> None:
    with pytest.raises(ArchiveError, match="JSON"):
        Signature.from_json(text, "digits.model")
