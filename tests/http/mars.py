"""1.x archives with handlers of our own, as ``model-archiver`` lays them out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

MIRROR = '''
import json

from mms.service import PredictionException
from words.greeting import GREETING

loaded = []


def handle(data, context):
    """Answer with what was given; the field ``do`` asks for more."""
    if data is None:
        loaded.append(context.system_properties["model_dir"])
        return None
    row = data[0]
    order = row.get("do", b"")
    if order == b"raw":
        context.set_response_content_type(0, "image/png")
        context.set_response_header(0, "X-Own", "yes")
        return [b"bytes"]
    if order == b"text":
        return ["words"]
    if order == b"status":
        context.set_response_status(418, "Teapot", idx=0)
        return [{"teapot": True}]
    if order == b"refuse":
        raise PredictionException("no such luck", 503)
    if order == b"raise":
        raise ValueError("secret words in /secret/path")
    if order == b"many":
        return [1, 2]
    context.metrics.add_counter("Mirrored", 1)
    shown = {
        name: value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else value
        for name, value in row.items()
    }
    return [{
        "row": shown,
        "greeting": GREETING,
        "loaded": len(loaded),
        "gpu": context.system_properties["gpu_id"],
        "agent": context.get_request_header(0, "User-Agent"),
        "id": context.get_request_id(0),
    }]
'''

NETWORK = '''
import os

import mxnet as mx


class Doubler:
    """A network of the engine behind a class handler."""

    def initialize(self, context):
        directory = context.system_properties["model_dir"]
        symbol = mx.sym.load(os.path.join(directory, "net-symbol.json"))
        saved = mx.nd.load(os.path.join(directory, "net-0000.params"))
        values = {key.split(":")[1]: value for key, value in saved.items()}
        self.net = symbol.bind(mx.cpu(), {"data": mx.nd.zeros((1, 2)), **values})

    def handle(self, data, context):
        numbers = data[0]["body"]["numbers"]
        output = self.net.forward(data=mx.nd.array([numbers]))[0]
        return [output.asnumpy()[0].tolist()]
'''

LEGACY = """
from mms.model_service.mxnet_model_service import MXNetBaseService


class Legacy(MXNetBaseService):
    def _postprocess(self, data):
        return [data[0].asnumpy().tolist(), self.model_name]
"""

SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, 2]}],
    "input_type": "application/json",
    "outputs": [{"data_name": "out", "data_shape": [0, 2]}],
    "output_type": "application/json",
}


def write(path: Path, handler: str, files: Mapping[str, str | bytes]) -> Path:
    """Write an archive with this handler."""
    manifest = {
        "specificationVersion": "1.0",
        "implementationVersion": "1.0",
        "description": "test",
        "modelServerVersion": "1.0",
        "license": "Apache 2.0",
        "runtime": "python",
        "model": {"modelName": path.stem, "modelVersion": "1.0", "handler": handler},
        "engine": {"engineName": "MXNet"},
        "publisher": {"author": "test"},
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MAR-INF/", "")
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def mirror(directory: Path) -> Path:
    files = {"mirror.py": MIRROR, "words/__init__.py": "", "words/greeting.py": "GREETING = 'hi'\n"}
    return write(directory / "mirror.mar", "mirror:handle", files)


def network_files(directory: Path) -> dict[str, str | bytes]:
    """Return a symbol that doubles two numbers, and its parameters."""
    import mxnet as mx  # noqa: PLC0415 - only who needs the engine pays for it

    symbol = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, no_bias=True, name="fc")
    target = directory / "net-0000.params"
    mx.nd.save(str(target), {"arg:fc_weight": mx.nd.array([[2, 0], [0, 2]])})
    return {"net-symbol.json": symbol.tojson(), "net-0000.params": target.read_bytes()}


def doubler(directory: Path) -> Path:
    files = {"doubler.py": NETWORK, **network_files(directory)}
    return write(directory / "doubler.mar", "doubler.py", files)


def legacy(directory: Path) -> Path:
    own = {"signature.json": json.dumps(SIGNATURE), "legacy.py": LEGACY}
    return write(directory / "legacy.mar", "legacy.py", {**own, **network_files(directory)})
