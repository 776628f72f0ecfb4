"""Train a small CNN on handwritten digits and export it as a model archive.

The digits are the 1797 scans of 8 x 8 pixels in scikit-learn, so nothing is downloaded.
The same seed gives a byte-identical archive in every run.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["OMP_NUM_THREADS"] = "1"  # before mxnet is imported: a fixed order of summation

import mxnet as mx
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from mms.export_model import export_model
from mms.utils.mxnet import image as mms_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 28
IMAGE_SIDE = 56  # the test images are larger than the network input, like those of a client
TEST_DIGITS = 360
BATCH = 32
LEARNING_RATE = 0.001
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MINIMUM_ACCURACY = 0.98
SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, 3, SIDE, SIDE]}],
    "input_type": "image/jpeg",
    "outputs": [{"data_name": "softmax", "data_shape": [0, 10]}],
    "output_type": "application/json",
}
CONF = """\
# The models that the hosts serve. The archives are beside this file on the shared file system.
[MMS Arguments]
--models
digits=/efs/models/digits.model

[Gunicorn Arguments]
--bind
unix:/tmp/mms_app.sock
--workers
optional
--worker-class
gevent
--limit-request-line
0

[MXNet Environment Variables]
OMP_NUM_THREADS=1
"""


@dataclass(frozen=True)
class Digits:
    """JPEG files and classes of one split of the data; ``pixels`` is uint8 [N, 28, 28, 3]."""

    jpegs: list[bytes]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def tensor(self) -> NDArray[np.float32]:
        """Return the network input, float32 [N, 3, 28, 28] with values 0 to 255."""
        return np.ascontiguousarray(self.pixels.transpose(0, 3, 1, 2), dtype=np.float32)


def write_jpeg(scan: NDArray[np.float64]) -> bytes:
    """Return an 8 x 8 scan with values 0 to 16 as the bytes of a JPEG file."""
    grey = Image.fromarray((scan * (255 / 16)).astype(np.uint8), mode="L")
    large = grey.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BILINEAR).convert("RGB")
    buffer = io.BytesIO()
    large.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def decode_as_the_server(jpeg: bytes) -> NDArray[np.uint8]:
    """Decode and resize one image with the functions of the vision service."""
    pixels = mms_image.resize(mms_image.read(jpeg), SIDE, SIDE)
    return np.asarray(pixels.asnumpy(), dtype=np.uint8)


def permutation(count: int, seed: int) -> NDArray[np.int64]:
    """Return a permutation of 0 to ``count - 1`` that depends only on ``seed``."""
    return np.asarray(np.random.default_rng(seed).permutation(count), dtype=np.int64)


def load_splits(seed: int) -> tuple[Digits, Digits]:
    """Return the training digits and the test digits; ``seed`` determines the split."""
    scans = load_digits()
    jpegs = [write_jpeg(scan) for scan in scans.images]
    pixels = np.stack([decode_as_the_server(jpeg) for jpeg in jpegs])
    labels = np.asarray(scans.target, dtype=np.int64)
    order = permutation(len(labels), seed)

    def split(chosen: NDArray[np.int64]) -> Digits:
        return Digits([jpegs[index] for index in chosen], pixels[chosen], labels[chosen])

    return split(order[TEST_DIGITS:]), split(order[:TEST_DIGITS])


def augmented(data: Digits) -> Digits:
    """Return ``data`` and four copies shifted by two pixels, so that position does not matter."""
    moved = [np.roll(data.pixels, step, axis=axis) for step in (-2, 2) for axis in (1, 2)]
    return Digits([], np.concatenate([data.pixels, *moved]), np.tile(data.labels, 5))


def network(channels: tuple[int, int] = (16, 32), hidden: int = 96) -> mx.sym.Symbol:
    """Return a network like LeNet, from pixels (0 to 255) to ten probabilities."""
    layer = mx.sym.Variable("data") * (1 / 255)
    for index, count in enumerate(channels):
        layer = mx.sym.Convolution(layer, kernel=(5, 5), num_filter=count, name=f"conv{index}")
        layer = mx.sym.Activation(layer, act_type="relu", name=f"relu{index}")
        layer = mx.sym.Pooling(
            layer, pool_type="max", kernel=(2, 2), stride=(2, 2), name=f"pool{index}"
        )
    layer = mx.sym.FullyConnected(mx.sym.flatten(layer), num_hidden=hidden, name="hidden")
    layer = mx.sym.Activation(layer, act_type="relu", name="hidden_relu")
    layer = mx.sym.FullyConnected(layer, num_hidden=10, name="scores")
    return mx.sym.SoftmaxOutput(layer, name="softmax")


def train(data: Digits, *, seed: int, epochs: int) -> mx.mod.Module:
    """Return the trained module; equal seeds give equal parameters."""
    mx.random.seed(seed)
    order = permutation(len(data.labels), seed)
    steps = epochs * len(order) // BATCH
    batches = mx.io.NDArrayIter(data.tensor()[order], data.labels[order].astype(np.float32), BATCH)
    module = mx.mod.Module(network(), context=mx.cpu())
    module.fit(
        batches,
        num_epoch=epochs,
        optimizer="adam",
        optimizer_params={
            "learning_rate": LEARNING_RATE,
            "lr_scheduler": mx.lr_scheduler.CosineScheduler(steps, LEARNING_RATE),
        },
        initializer=mx.init.Xavier(),
        eval_metric="acc",
        epoch_end_callback=lambda epoch, *_: print(f"  epoch {epoch + 1} of {epochs}", flush=True),
    )
    return module


def accuracy(module: mx.mod.Module, data: Digits) -> float:
    """Return the fraction of ``data`` whose most probable class is correct."""
    batches = mx.io.NDArrayIter(data.tensor(), data.labels.astype(np.float32), BATCH)
    found = module.predict(batches).asnumpy().argmax(axis=1)
    return float((found == data.labels).mean())


def pack(module: mx.mod.Module, archive: Path) -> None:
    """Write the archive with the exporter of the project, as a model developer does."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        module.save_checkpoint(str(directory / "digits"), 0)
        (directory / "signature.json").write_text(json.dumps(SIGNATURE, indent=2) + "\n")
        (directory / "synset.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
        archive.unlink(missing_ok=True)
        export_model("digits", str(directory), export_file=str(archive))


def write_images(data: Digits, directory: Path) -> None:
    """Write the test digits as JPEG files, and the first of each class under the class name too."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    classes = {}
    for index, (jpeg, label) in enumerate(zip(data.jpegs, data.labels, strict=True)):
        name = f"digit-{index:03}.jpg"
        (directory / name).write_bytes(jpeg)
        classes[name] = str(label)
        first = directory / f"{NAMES[label]}.jpg"
        if not first.exists():
            first.write_bytes(jpeg)
            classes[first.name] = str(label)
    (directory / "labels.json").write_text(json.dumps(classes, indent=2, sort_keys=True) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Train and check the model; write its archive, its ``mms.conf`` and the test images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/models"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args(arguments)
    print("Reading the digits", flush=True)
    training, test = load_splits(options.seed)
    print(f"Training on {len(training.labels)} digits", flush=True)
    module = train(augmented(training), seed=options.seed, epochs=options.epochs)
    share = accuracy(module, test)
    print(f"Test accuracy: {share:.4f} on {len(test.labels)} digits", flush=True)
    if share < MINIMUM_ACCURACY:
        print(f"Refused: the accuracy must be at least {MINIMUM_ACCURACY}.", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    pack(module, options.output / "digits.model")
    write_images(test, options.output / "images")
    np.savez(options.output / "test_images.npz", images=test.pixels, labels=test.labels)
    (options.output / "mms.conf").write_text(CONF)
    print(f"Wrote {options.output / 'digits.model'}, mms.conf and images/", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
