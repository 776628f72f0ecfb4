"""Makes the networks for the comparison of servers: ``python make_models.py DIRECTORY``.

It runs on the interpreter of MXNet Model Server 0.4, Python 2.7, and uses its exporter: the engine
of 0.4 reads no newer files, and all others read these. Weights are random, from a seed.
"""

import json
import os
import shutil
import sys

import mxnet as mx
import numpy as np
from mxnet.gluon.model_zoo import vision

from mms.export_model import export_model

CLASSES = 1000
SIDE = 224
NETWORKS = {"resnet18_v1": vision.resnet18_v1, "squeezenet1.1": vision.squeezenet1_1}


def main(directory):
    """Write the archives that are not in ``directory`` yet."""
    for name, make in sorted(NETWORKS.items()):
        target = os.path.join(directory, name + ".model")
        source = os.path.join(directory, name)
        if os.path.exists(target):
            continue
        shutil.rmtree(source, ignore_errors=True)
        os.makedirs(source)
        _write(make, name, source)
        export_model(name, source, None, target)


def _write(make, name, directory):
    mx.random.seed(42)
    np.random.seed(42)
    net = make(pretrained=False, classes=CLASSES)
    net.initialize(mx.init.Xavier(rnd_type="gaussian", magnitude=2))
    symbol = mx.sym.softmax(net(mx.sym.Variable("data")), name="softmax")
    net(mx.nd.zeros((1, 3, SIDE, SIDE)))
    states = set(symbol.list_auxiliary_states())
    # A copy: the engine cannot write arrays that a forward has left in an internal layout.
    values = {
        ("aux:" if key in states else "arg:") + key: mx.nd.array(value.data().asnumpy())
        for key, value in net.collect_params().items()
    }
    symbol.save(os.path.join(directory, name + "-symbol.json"))
    mx.nd.save(os.path.join(directory, name + "-0000.params"), values)
    signature = {
        "inputs": [{"data_name": "data", "data_shape": [0, 3, SIDE, SIDE]}],
        "input_type": "image/jpeg",
        "outputs": [{"data_name": "softmax", "data_shape": [0, CLASSES]}],
        "output_type": "application/json",
    }
    with open(os.path.join(directory, "signature.json"), "w") as stream:
        json.dump(signature, stream)
    with open(os.path.join(directory, "synset.txt"), "w") as stream:
        stream.write("".join("class-%d\n" % number for number in range(CLASSES)))


if __name__ == "__main__":
    main(sys.argv[1])
