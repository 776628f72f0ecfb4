"""Print the outputs of a model for all test images: ``outputs.py DIRECTORY IMAGES``.

It runs on a host and outside of it, with the runtime of each. It prints one line: the base64 of
float32 bytes.
"""

import base64
import sys
from pathlib import Path

import mxnet as mx
import numpy as np


def main(directory: Path, images: Path) -> None:
    """Run one forward for each image, as a worker does."""
    symbol = mx.sym.load(str(next(directory.glob("*-symbol.json"))))
    saved = mx.nd.load(str(next(directory.glob("*.params"))))
    data = np.load(images)["images"].transpose(0, 3, 1, 2).astype(np.float32)
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=(1, *data.shape[1:]))
    for key, value in saved.items():
        kind, _, name = key.partition(":")
        (executor.arg_dict if kind == "arg" else executor.aux_dict)[name][:] = value
    outputs = [
        executor.forward(is_train=False, data=mx.nd.array(x[None]))[0].asnumpy() for x in data
    ]
    sys.stdout.write(base64.b64encode(np.concatenate(outputs).tobytes()).decode() + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
