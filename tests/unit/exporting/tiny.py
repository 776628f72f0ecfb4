"""A small model directory, whose weights nobody loads."""

from __future__ import annotations

import json
from pathlib import Path

from mms_server.export import export_model

SYMBOL = {
    "nodes": [{"op": "null", "name": "data"}, {"op": "FullyConnected", "name": "fc"}],
    "attrs": {"mxnet_version": ["int", 10901]},
}
SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, 3, 8, 8]}],
    "input_type": "image/jpeg",
    "outputs": [{"data_name": "out", "data_shape": [0, 2]}],
    "output_type": "application/json",
}
SERVICE = """
from mms.model_service.mxnet_vision_service import MXNetVisionService


class MyService(MXNetVisionService):
    pass
"""


def write(directory: Path) -> Path:
    directory.mkdir()
    (directory / "tiny-symbol.json").write_text(json.dumps(SYMBOL))
    (directory / "tiny-0003.params").write_bytes(b"weights" * 1000)
    (directory / "signature.json").write_text(json.dumps(SIGNATURE))
    (directory / "synset.txt").write_text("one\ntwo\n")
    (directory / "vocabulary.txt").write_text("words\n")
    return directory


def export(source: Path, target: Path, name: str = "tiny", service: str | None = None) -> Path:
    return export_model(name, str(source), service, str(target))
