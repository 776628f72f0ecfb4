"""Models with service classes as the documentation of 0.4 showed them; the classes are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from mms_server.export import export_model

# Finds the corner of a picture where most light is: one box per quarter, best first.
DETECTOR = '''
import mxnet as mx

from mms.model_service.mxnet_model_service import MXNetBaseService
from mms.utils.mxnet import image


class Detector(MXNetBaseService):
    """Keeps the picture's size from one stage to the other, as 0.4's SSD example did."""

    def _preprocess(self, data):
        picture = image.read(data[0])
        self.height, self.width = picture.shape[:2]
        height, width = self.signature["inputs"][0]["data_shape"][2:]
        return [image.transform_shape(image.resize(picture, width, height))]

    def _postprocess(self, data):
        light = data[0].asnumpy()[0].ravel()
        boxes = []
        for place in light.argsort()[::-1]:
            if light[place] < 1:
                continue
            top, left = divmod(int(place), 2)
            boxes.append((
                self.labels[place],
                left * self.width // 2,
                top * self.height // 2,
                (left + 1) * self.width // 2,
                (top + 1) * self.height // 2,
            ))
        return boxes
'''

# Answers each word by the one that follows it in the vocabulary.
SENTENCES = """
import os

import mxnet as mx

from mms.log import get_logger
from mms.model_service.mxnet_model_service import MXNetBaseService
from mms.utils.mxnet import nlp
from mms.utils.timeit_decorator import timeit

logger = get_logger()


class Sentences(MXNetBaseService):
    def __init__(self, model_name, model_dir, manifest, gpu=None):
        super(Sentences, self).__init__(model_name, model_dir, manifest, gpu)
        self.buckets = [2, 4]
        self.vocab = {"\\n": 0}
        with open(os.path.join(model_dir, "vocab_dict.txt")) as lines:
            for line in lines:
                word, number = line.split(" ")
                self.vocab[word] = int(number)
        self.words = dict((number, word) for word, number in self.vocab.items())
        logger.info("%d words", len(self.words))

    @timeit
    def _preprocess(self, data):
        words = data[0][0]["input_sentence"].lower().split(" ")
        rows, _ = nlp.encode_sentences([words], vocab=self.vocab)
        self.length = len(words)
        return nlp.pad_sentence(rows[0], self.buckets, invalid_label=0)

    def _inference(self, data):
        self.mx_model.forward(data, is_train=False)
        return self.mx_model.get_outputs()

    def _postprocess(self, data):
        found = data[0].asnumpy()[0][: self.length]
        return [{"bucket": data[0].shape[1]}, " ".join(self.words[int(n)] for n in found)]
"""

# A network by a helper module whose name other archives use as well.
HELPER = """
from mxnet import gluon


class Net(gluon.{base}):
    def __init__(self, **keywords):
        super(Net, self).__init__(**keywords)
        with self.name_scope():
            self.dense = gluon.nn.Dense(2, in_units=3)
{forward}
"""
FORWARD = """
    def forward(self, x):
        return self.dense(x)
"""
HYBRID_FORWARD = """
    def hybrid_forward(self, F, x):
        return F.relu(self.dense(x))
"""
GLUON = """
import mxnet as mx

from mms.model_service.mxnet_model_service import GluonImperativeBaseService
import helper


class Gluon(GluonImperativeBaseService):
    def __init__(self, model_name, model_dir, manifest, gpu=None):
        net = helper.Net()
        {hybridize}
        super(Gluon, self).__init__(model_name, model_dir, manifest, net, gpu)

    def _preprocess(self, data):
        return map(mx.nd.array, data)

    def _inference(self, data):
        super(Gluon, self)._inference(data)
        return [self.net(data[0].as_in_context(self.ctx))]

    def _postprocess(self, data):
        import helper as late
        return [str(row.asnumpy().tolist()) for row in data] + [late.Net.__bases__[0].__name__]
"""
VISION = """
import mxnet as mx

from mms.model_service.gluon_vision_service import GluonVisionService


class Means(mx.gluon.HybridBlock):
    def hybrid_forward(self, F, x):
        return F.mean(x, axis=(2, 3))


class Vision(GluonVisionService):
    def __init__(self, model_name, model_dir, manifest, gpu=None):
        net = Means()
        net.hybridize()
        super(Vision, self).__init__(model_name, model_dir, manifest, net, gpu)
"""


def detector(directory: Path) -> Path:
    data = mx.sym.Variable("data")
    light = mx.sym.mean(data, axis=1, keepdims=True)
    symbol = mx.sym.Pooling(light, kernel=(4, 4), stride=(4, 4), pool_type="avg")
    files = {"synset.txt": "top left\ntop right\nbottom left\nbottom right\n"}
    _write_symbol(directory / "detector", symbol, {})
    return _export(directory, "detector", "image/jpeg", (0, 3, 8, 8), DETECTOR, files)


def sentences(directory: Path) -> Path:
    words = ("the", "dow", "jones", "closed")
    following = np.array([0, 2, 3, 4, 1], dtype=np.float32).reshape(5, 1)
    embedded = mx.sym.Embedding(
        mx.sym.Variable("data"), input_dim=5, output_dim=1, name="following"
    )
    symbol = mx.sym.reshape(embedded, shape=(0, -1))
    _write_symbol(directory / "sentences", symbol, {"arg:following_weight": following})
    files = {"vocab_dict.txt": "".join(f"{word} {n}\n" for n, word in enumerate(words, 1))}
    return _export(directory, "sentences", "application/json", (0, 4), SENTENCES, files)


def imperative(directory: Path) -> Path:
    """Return an archive of a network that only computes imperatively, with parameters."""
    return _gluon(directory, "imperative", HELPER.format(base="Block", forward=FORWARD))


def hybrid(directory: Path) -> Path:
    """Return an archive whose service and helper have the names of the other's."""
    helper = HELPER.format(base="HybridBlock", forward=HYBRID_FORWARD)
    return _gluon(directory, "hybrid", helper, hybridize="net.hybridize()")


def gluon_vision(directory: Path) -> Path:
    files = {"synset.txt": "red\ngreen\nblue\n"}
    return _export(directory, "vision", "image/jpeg", (0, 3, 8, 8), VISION, files)


def _gluon(directory: Path, name: str, helper: str, *, hybridize: str = "pass") -> Path:
    values = {
        "dense.weight": mx.nd.array([[1, 1, 1], [-1, -1, -1]]),
        "dense.bias": mx.nd.array([0.5, 0]),
    }
    source = directory / name
    source.mkdir(parents=True)
    mx.nd.save(str(source / f"{name}.params"), values)
    service = GLUON.format(hybridize=hybridize)
    return _export(directory, name, "application/json", (0, 3), service, {"helper.py": helper})


def _write_symbol(source: Path, symbol: Any, weights: dict[str, Any]) -> None:
    source.mkdir(parents=True)
    symbol.save(str(source / f"{source.name}-symbol.json"))
    arrays = {key: mx.nd.array(value) for key, value in weights.items()}
    # A file of parameters without any is not one that MXNet reads back as a dictionary.
    arrays = arrays or {"arg:unused": mx.nd.zeros((1,))}
    mx.nd.save(str(source / f"{source.name}-0000.params"), arrays)


def _export(  # noqa: PLR0917 - one row of a table each
    directory: Path,
    name: str,
    kind: str,
    shape: tuple[int, ...],
    service: str,
    files: dict[str, str],
) -> Path:
    source = directory / name
    source.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (source / file).write_text(text)
    (source / "service.py").write_text(service)
    signature = {
        "inputs": [{"data_name": "data", "data_shape": list(shape)}],
        "input_type": kind,
        "outputs": [{"data_name": "out", "data_shape": [0, 1]}],
        "output_type": "application/json",
    }
    (source / "signature.json").write_text(json.dumps(signature))
    return export_model(name, str(source), "service.py", str(directory / f"{name}.model"))
