"""Tiny real models for the HTTP tests: each is answered by MXNet within milliseconds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import mxnet as mx
import numpy as np
from PIL import Image

from mms_server.export import export_model

CLASSES = ("black", "blue", "green", "red", "white", "yellow")

ODD_SERVICE = '''
import os
import time

import mxnet as mx

from mms.model_service.mxnet_model_service import MXNetBaseService


class WitnessedModule(mx.mod.Module):
    """Tells in a file that it computed."""

    def forward(self, data_batch, is_train=None):
        super().forward(data_batch, is_train)
        witness = os.environ.get("ODD_WITNESS")
        if witness:
            with open(witness, "a") as stream:
                stream.write("forward\\n")


class OddService(MXNetBaseService):
    """Does what the first number says: sleeps so many seconds, or misbehaves below zero."""

    def __init__(self, model_name, model_dir, manifest, gpu=None):
        super().__init__(model_name, model_dir, manifest, gpu)
        self.mx_model.__class__ = WitnessedModule
        self.active = 0
        self.most = 0

    def _inference(self, data):
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            return self._obey(float(data[0].asnumpy()[0, 0]), data)
        finally:
            self.active -= 1

    def _obey(self, order, data):
        if order == -1:
            raise SystemExit("secret words in /secret/path")
        if order == -2:
            return [float("nan")]
        if order == -3:
            return [object()]
        time.sleep(max(order, 0))
        return super()._inference(data)

    def _postprocess(self, data):
        if not isinstance(data[0], mx.nd.NDArray):
            return data
        return {"pid": os.getpid(), "most": self.most, "environment": dict(os.environ)}
'''


BATCH_SERVICE = '''
import os
import time

from mms.model_service.mxnet_model_service import MXNetBaseService


class BatchService(MXNetBaseService):
    """Tells in a file how many requests it gets together, and does what their numbers say.

    From 0 on it sleeps for the longest of them, once; -1 raises, -2 ends the process, -3 keeps
    40 MiB for good.
    """

    kept = []

    def handle_batch(self, requests):
        orders = [float(request[0][0][0]) for request in requests]
        with open(os.environ["BATCH_WITNESS"], "a") as stream:
            stream.write(f"{len(orders)}\\n")
        if -2 in orders:
            os._exit(1)
        if -1 in orders:
            raise ValueError("one of them is bad")
        self.kept += [bytearray(b"x") * (40 << 20) for order in orders if order == -3]
        time.sleep(max(0, *orders))
        return [{"order": order, "pid": os.getpid()} for order in orders]

    def inference(self, data):
        return self.handle_batch([data])[0]
'''

SLOW_SERVICE = '''
import time

from mms.model_service.mxnet_model_service import MXNetBaseService


class SlowService(MXNetBaseService):
    """Sleeps as long as the number says before it gives it to the network."""

    def _preprocess(self, data):
        time.sleep(data[0][0][0])
        return super()._preprocess(data)
'''


def picture(
    color: tuple[int, int, int] = (255, 0, 0),
    *,
    side: int = 20,
    kind: str = "JPEG",
    mode: str = "RGB",
) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (side, side), color).convert(mode).save(target, kind)
    return target.getvalue()


def colors(directory: Path) -> Path:
    """Return an archive that names the color of a picture, by the mean of each channel."""
    data = mx.sym.Variable("data")
    pooled = mx.sym.Pooling(data, kernel=(8, 8), pool_type="avg", name="pool")
    flat = mx.sym.Flatten(pooled)
    symbol = mx.sym.softmax(mx.sym.FullyConnected(flat, num_hidden=len(CLASSES), name="fc"))
    # Each class's score falls with the distance of the mean color from its own.
    corners = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]]) * 255.0
    weights = {"fc_weight": corners / 2000, "fc_bias": -(corners**2).sum(1) / 4000}
    return _export(
        directory,
        "colors",
        symbol,
        weights,
        {"inputs": [("data", (0, 3, 8, 8))], "input_type": "image/jpeg"},
        synset="".join(f"{name}\n" for name in CLASSES),
    )


def pair(directory: Path, *, epoch: int = 0) -> Path:
    """Return an archive with two inputs: it answers twice their sum."""
    total = mx.sym.Variable("left") + mx.sym.Variable("right")
    symbol = mx.sym.broadcast_mul(total, mx.sym.Variable("factor", shape=(1, 1)))
    return _export(
        directory,
        "pair",
        symbol,
        {"factor": np.array([[2.0]])},
        {"inputs": [("left", (0, 3)), ("right", (0, 3))], "input_type": "application/json"},
        epoch=epoch,
    )


def odd(directory: Path, service: str = ODD_SERVICE) -> Path:
    """Return an archive whose own service class does what it is told."""
    return _obeying(directory, "odd", service)


def batch(directory: Path) -> Path:
    """Return an archive whose own service class computes requests together."""
    return _obeying(directory, "batch", BATCH_SERVICE)


def slow_to_read(directory: Path) -> Path:
    """Return an archive that sleeps so many seconds before its network, and in it not at all."""
    return _obeying(directory, "slow_to_read", SLOW_SERVICE)


def _obeying(directory: Path, name: str, service: str) -> Path:
    """Return an archive with a network of one number that answers the number."""
    symbol = mx.sym.broadcast_mul(mx.sym.Variable("order"), mx.sym.Variable("one", shape=(1, 1)))
    (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / name / f"{name}_service.py").write_text(service)
    return _export(
        directory,
        name,
        symbol,
        {"one": np.array([[1.0]])},
        {"inputs": [("order", (0, 1))], "input_type": "application/json"},
        service=f"{name}_service.py",
    )


def _export(
    directory: Path,
    name: str,
    symbol: mx.sym.Symbol,
    weights: dict[str, np.ndarray],
    signature: dict[str, object],
    *,
    synset: str = "",
    service: str | None = None,
    epoch: int = 0,
) -> Path:
    source = directory / name
    source.mkdir(parents=True, exist_ok=True)
    symbol.save(str(source / f"{name}-symbol.json"))
    arrays = {f"arg:{key}": mx.nd.array(value) for key, value in weights.items()}
    mx.nd.save(str(source / f"{name}-{epoch:04d}.params"), arrays)
    rows = signature["inputs"]
    assert isinstance(rows, list)
    text = {
        "inputs": [{"data_name": key, "data_shape": list(shape)} for key, shape in rows],
        "input_type": signature["input_type"],
        "outputs": [{"data_name": "out", "data_shape": [0, 1]}],
        "output_type": "application/json",
    }
    (source / "signature.json").write_text(json.dumps(text))
    if synset:
        (source / "synset.txt").write_text(synset)
    return export_model(name, str(source), service, str(directory / f"{name}.model"))
