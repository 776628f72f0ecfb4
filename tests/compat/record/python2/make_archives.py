"""Export tiny models with the exporter of MXNet Model Server 0.4.

Runs on the original's own interpreter, Python 2.7: ``python make_archives.py DIRECTORY``. Weights
come from fixed seeds; the service files are ours, one leaf class each, so that the archives hold
nothing of the original's source and the original can load them.
"""

import json
import os
import shutil
import sys

import mxnet as mx
import numpy as np

from mms.export_model import export_model

HERE = os.path.dirname(os.path.abspath(__file__))
SERVICES = os.path.join(HERE, "services")


def main(directory):
    """Write the archives that are not in ``directory`` yet."""
    sources = os.path.join(directory, "sources")
    for make in (photo, single, pair, custom, picture_out, gluon):
        name = make.__name__
        target = os.path.join(directory, name + ".model")
        source = os.path.join(sources, name)
        if os.path.exists(target):
            continue
        shutil.rmtree(source, ignore_errors=True)
        os.makedirs(source)
        np.random.seed(42)
        mx.random.seed(42)
        service = make(source)
        export_model(name, source, os.path.join(SERVICES, service), target)
    shutil.rmtree(sources, ignore_errors=True)


def photo(directory):
    """A small convolution over pictures of 16 x 16, ten classes."""
    data = mx.sym.Variable("data")
    layer = mx.sym.Convolution(data, num_filter=8, kernel=(3, 3), name="conv")
    layer = mx.sym.Pooling(mx.sym.Activation(layer, act_type="relu"), kernel=(7, 7), stride=(7, 7))
    layer = mx.sym.FullyConnected(mx.sym.Flatten(layer), num_hidden=10, name="fc")
    # Values of 0 to 255 go in, and nothing scales them: small weights keep the classes apart.
    weights = {
        "conv_weight": np.random.uniform(-1, 1, (8, 3, 3, 3)) / 255,
        "conv_bias": np.zeros(8),
        "fc_weight": np.random.uniform(-1, 1, (10, 32)),
        "fc_bias": np.zeros(10),
    }
    with open(os.path.join(directory, "synset.txt"), "w") as stream:
        stream.write("".join("n%04d class %d\n" % (n, n) for n in range(10)))
    _write(directory, mx.sym.softmax(layer), weights, [("data", [0, 3, 16, 16])], "image/jpeg")
    return "photo_service.py"


def single(directory):
    """One input of three numbers, a layer, two numbers."""
    _write(directory, _layer("x"), _layer_weights(), [("x", [0, 3])])
    return "numbers_service.py"


def pair(directory):
    """Two inputs: twice their sum, and their difference."""
    left, right = mx.sym.Variable("left"), mx.sym.Variable("right")
    both = mx.sym.Group([(left + right) * 2, left - right])
    _write(directory, both, {"unused": np.zeros(1)}, [("left", [0, 3]), ("right", [0, 3])])
    return "numbers_service.py"


def custom(directory):
    """As ``single``, with a service that answers an object."""
    _write(directory, _layer("x"), _layer_weights(), [("x", [0, 3])])
    return "custom_service.py"


def picture_out(directory):
    """As ``single``, with a signature that says a picture comes out."""
    _write(directory, _layer("x"), _layer_weights(), [("x", [0, 3])], output_type="image/jpeg")
    return "numbers_service.py"


def gluon(directory):
    """An imperative network with its parameters."""
    sys.path.insert(0, SERVICES)
    import gluon_service

    net = gluon_service.Net()
    net.initialize(mx.init.Uniform(1.0))
    net(mx.nd.zeros((1, 3)))
    net.save_parameters(os.path.join(directory, "net.params"))
    _signature(directory, [("x", [0, 3])])
    return "gluon_service.py"


def _layer(name):
    return mx.sym.FullyConnected(mx.sym.Variable(name), num_hidden=2, name="fc")


def _layer_weights():
    return {"fc_weight": np.random.uniform(-1, 1, (2, 3)), "fc_bias": np.random.uniform(-1, 1, 2)}


def _write(directory, symbol, weights, inputs, input_type="application/json", output_type=None):
    name = os.path.basename(directory)
    symbol.save(os.path.join(directory, name + "-symbol.json"))
    arrays = dict(("arg:" + key, mx.nd.array(weights[key])) for key in sorted(weights))
    mx.nd.save(os.path.join(directory, name + "-0000.params"), arrays)
    _signature(directory, inputs, input_type, output_type)


def _signature(directory, inputs, input_type="application/json", output_type=None):
    about = {
        "inputs": [{"data_name": key, "data_shape": shape} for key, shape in inputs],
        "input_type": input_type,
        "outputs": [{"data_name": "out", "data_shape": [0, 2]}],
        "output_type": output_type or "application/json",
    }
    with open(os.path.join(directory, "signature.json"), "w") as stream:
        json.dump(about, stream, sort_keys=True)


if __name__ == "__main__":
    main(sys.argv[1])
