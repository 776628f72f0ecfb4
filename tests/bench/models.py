"""The models of the benchmark, made without a download, and the pictures for them."""

from __future__ import annotations

import io
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet.gluon.model_zoo import vision
from PIL import Image

from mms_server.export import export_model

SIDE = 224
SEED = 42
CLASSES = 1000
_SHARED = Path(__file__).parent / "peers/python2/make_models.py"
_EXPORT_LIMIT_S = 300.0
ZOO = ("resnet18_v1", "squeezenet1.1")
WITH_NETWORK = (*ZOO, "digits")
NAMES = (*WITH_NETWORK, "noop")

_NOOP = '''"""Answers without computing: what is left is the server."""

from mms.model_service.mxnet_model_service import MXNetBaseService


class NoopService(MXNetBaseService):
    """Takes a picture and answers the same."""

    def _preprocess(self, data):
        return data

    def _inference(self, data):
        return data

    def _postprocess(self, data):
        return [[{"class": "noop", "probability": 1.0}]]
'''


@dataclass(frozen=True)
class Subject:
    """A model to measure, with its JPEG; ``batches`` are the batch sizes for its raw limit."""

    name: str
    archive: Path
    picture: bytes
    batches: tuple[int, ...]


def picture(size_bytes: int, side: int = SIDE) -> bytes:
    """Return a JPEG of about ``size_bytes``: a gradient with noise, the same in every run."""
    rng = np.random.default_rng(SEED)
    ramp = np.linspace(0, 160, side)
    smooth = np.stack(
        [np.add.outer(ramp, ramp) / 2, np.tile(ramp, (side, 1)), np.tile(ramp, (side, 1)).T], 2
    )
    noisy = np.clip(smooth + rng.normal(0, 45, smooth.shape), 0, 255).astype(np.uint8)
    image = Image.fromarray(noisy)

    def encoded(quality: int, subsampling: str) -> bytes:
        target = io.BytesIO()
        image.save(target, "JPEG", quality=quality, subsampling=subsampling)
        return target.getvalue()

    # The default buffer is too small for 100 kB and more.
    tried = (encoded(quality, kind) for kind in ("4:2:0", "4:4:4") for quality in range(1, 101))
    return min(tried, key=lambda jpeg: abs(len(jpeg) - size_bytes))


def zoo(name: str, directory: Path) -> Path:
    """Return the archive of a network of Gluon's model zoo, with random weights from a seed."""
    archive = directory / f"{name}.model"
    if archive.exists():
        return archive
    mx.random.seed(SEED)
    np.random.seed(SEED)
    net = getattr(vision, name.replace(".", "_"))(classes=CLASSES)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    net(mx.nd.zeros((1, 3, SIDE, SIDE)))
    with tempfile.TemporaryDirectory() as scratch:
        net.export(str(Path(scratch) / name))
        return _packed(name, Path(scratch), archive, (0, 3, SIDE, SIDE))


def noop(directory: Path) -> Path:
    """Return the archive of a model that computes nothing: it measures the server's own cost."""
    archive = directory / "noop.model"
    if archive.exists():
        return archive
    with tempfile.TemporaryDirectory() as scratch:
        source, service = Path(scratch) / "noop", Path(scratch) / "noop_service.py"
        source.mkdir()
        factor = mx.sym.Variable("factor", shape=(1, 1))
        symbol = mx.sym.broadcast_mul(mx.sym.Variable("data"), factor)
        symbol.save(str(source / "noop-symbol.json"))
        mx.nd.save(str(source / "noop-0000.params"), {"arg:factor": mx.nd.ones((1, 1))})
        service.write_text(_NOOP)
        return _packed("noop", source, archive, (0, 1), service)


def _packed(
    name: str,
    source: Path,
    archive: Path,
    shape: tuple[int, ...],
    service: Path | None = None,
) -> Path:
    signature = {
        "inputs": [{"data_name": "data", "data_shape": list(shape)}],
        "input_type": "image/jpeg",
        "outputs": [{"data_name": "scores", "data_shape": [0, CLASSES]}],
        "output_type": "application/json",
    }
    (source / "signature.json").write_text(json.dumps(signature))
    (source / "synset.txt").write_text("".join(f"class-{n}\n" for n in range(CLASSES)))
    made = archive.with_suffix(".part.model")
    made.unlink(missing_ok=True)
    export_model(name, str(source), str(service) if service else None, str(made))
    return made.replace(archive)


def shared(all_of: Sequence[Subject], original: Path, directory: Path) -> list[Subject]:
    """Return the models; those of the model zoo are exported by MXNet Model Server 0.4.

    ``original`` is its virtual environment.

    Raises:
        CalledProcessError: the exporter failed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    command = [str(original / "bin/python"), str(_SHARED), str(directory)]
    subprocess.run(command, check=True, capture_output=True, timeout=_EXPORT_LIMIT_S)
    made = {file.stem: file for file in directory.glob("*.model")}
    return [replace(one, archive=made.get(one.name, one.archive)) for one in all_of]


def subjects(directory: Path, digits: Path, image_kb: int) -> list[Subject]:
    """Return the models to measure; ``digits`` is the directory that ``make model`` fills."""
    directory.mkdir(parents=True, exist_ok=True)
    jpeg = picture(image_kb * 1000)
    seven = (digits / "images/seven.jpg").read_bytes()
    return [
        *(Subject(name, zoo(name, directory), jpeg, (1, 8)) for name in ZOO),
        Subject("digits", digits / "digits.model", seven, (1, 8, 32)),
        Subject("noop", noop(directory), jpeg, (1,)),
    ]
