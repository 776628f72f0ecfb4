"""Train a small CNN on real handwritten digits and pack it for the server.

The digits are the 1797 scans of 8 x 8 pixels that scikit-learn ships, so nothing is downloaded.
The same seed gives the same archive, byte for byte, on every run.
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

os.environ["OMP_NUM_THREADS"] = "1"  # before the engine is imported: sums in one fixed order

import mxnet as mx
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from mms.export_model import export_model
from mms.utils.mxnet import image as mms_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 28
WRITTEN_SIDE = 56  # the written images are larger than the input, as a client's would be
TEST_DIGITS = 360
BATCH = 32
RATE = 0.001
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FLOOR = 0.98
SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, 3, SIDE, SIDE]}],
    "input_type": "image/jpeg",
    "outputs": [{"data_name": "softmax", "data_shape": [0, 10]}],
    "output_type": "application/json",
}
CONF = """\
# What the hosts serve. The archives lie beside this file on the shared file system.
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
    """JPEG files and classes of one half of the data; ``pixels`` is uint8 [N, 28, 28, 3]."""

    jpegs: list[bytes]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def tensor(self) -> NDArray[np.float32]:
        """Return the network's input, float32 [N, 3, 28, 28] with values 0 to 255."""
        return np.ascontiguousarray(self.pixels.transpose(0, 3, 1, 2), dtype=np.float32)


def write_jpeg(scan: NDArray[np.float64]) -> bytes:
    """Return an 8 x 8 scan with values 0 to 16 as the bytes of a JPEG file."""
    grey = Image.fromarray((scan * (255 / 16)).astype(np.uint8), mode="L")
    large = grey.resize((WRITTEN_SIDE, WRITTEN_SIDE), Image.Resampling.BILINEAR).convert("RGB")
    buffer = io.BytesIO()
    large.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def read_like_the_server(jpeg: bytes) -> NDArray[np.uint8]:
    """Decode and resize one picture with the functions that the vision service uses."""
    pixels = mms_image.resize(mms_image.read(jpeg), SIDE, SIDE)
    return np.asarray(pixels.asnumpy(), dtype=np.uint8)


def shuffled(count: int, seed: int) -> NDArray[np.int64]:
    """Return 0 to ``count - 1`` in an order that depends on ``seed`` alone."""
    return np.asarray(np.random.default_rng(seed).permutation(count), dtype=np.int64)


def load_halves(seed: int) -> tuple[Digits, Digits]:
    """Return the training and the test digits, told apart by ``seed``."""
    scans = load_digits()
    jpegs = [write_jpeg(scan) for scan in scans.images]
    pixels = np.stack([read_like_the_server(jpeg) for jpeg in jpegs])
    labels = np.asarray(scans.target, dtype=np.int64)
    order = shuffled(len(labels), seed)

    def half(chosen: NDArray[np.int64]) -> Digits:
        return Digits([jpegs[index] for index in chosen], pixels[chosen], labels[chosen])

    return half(order[TEST_DIGITS:]), half(order[:TEST_DIGITS])


def with_shifts(data: Digits) -> Digits:
    """Return ``data`` and four copies moved by two pixels, so that place teaches nothing."""
    moved = [np.roll(data.pixels, step, axis=axis) for step in (-2, 2) for axis in (1, 2)]
    return Digits([], np.concatenate([data.pixels, *moved]), np.tile(data.labels, 5))


def network(channels: tuple[int, int] = (16, 32), hidden: int = 96) -> mx.sym.Symbol:
    """Return a LeNet-like network from pixels (0 to 255) to ten probabilities."""
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
    order = shuffled(len(data.labels), seed)
    steps = epochs * len(order) // BATCH
    batches = mx.io.NDArrayIter(data.tensor()[order], data.labels[order].astype(np.float32), BATCH)
    module = mx.mod.Module(network(), context=mx.cpu())
    module.fit(
        batches,
        num_epoch=epochs,
        optimizer="adam",
        optimizer_params={
            "learning_rate": RATE,
            "lr_scheduler": mx.lr_scheduler.CosineScheduler(steps, RATE),
        },
        initializer=mx.init.Xavier(),
        eval_metric="acc",
        epoch_end_callback=lambda epoch, *_: print(f"  epoch {epoch + 1} of {epochs}", flush=True),
    )
    return module


def accuracy(module: mx.mod.Module, data: Digits) -> float:
    """Return the share of ``data`` whose most probable class is right."""
    batches = mx.io.NDArrayIter(data.tensor(), data.labels.astype(np.float32), BATCH)
    found = module.predict(batches).asnumpy().argmax(axis=1)
    return float((found == data.labels).mean())


def pack(module: mx.mod.Module, archive: Path) -> None:
    """Write the archive with the project's own exporter, as a modeller does."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        module.save_checkpoint(str(directory / "digits"), 0)
        (directory / "signature.json").write_text(json.dumps(SIGNATURE, indent=2) + "\n")
        (directory / "synset.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
        archive.unlink(missing_ok=True)
        export_model("digits", str(directory), export_file=str(archive))


def write_images(data: Digits, directory: Path) -> None:
    """Write the test digits as JPEG files, with the first of each class under its name."""
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
    """Train, check and write the model, its ``mms.conf`` and the test images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/models"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args(arguments)
    print("Reading the digits", flush=True)
    training, test = load_halves(options.seed)
    print(f"Training on {len(training.labels)} digits", flush=True)
    module = train(with_shifts(training), seed=options.seed, epochs=options.epochs)
    share = accuracy(module, test)
    print(f"Test accuracy: {share:.4f} on {len(test.labels)} digits", flush=True)
    if share < FLOOR:
        print(f"Refused: an accuracy of {FLOOR} is expected.", file=sys.stderr)
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
