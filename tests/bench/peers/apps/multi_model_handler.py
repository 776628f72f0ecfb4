"""A handler of multi-model-server 1.x: it computes as MMS 0.4's vision service, with batches."""

import json
import os

import mxnet as mx

TOP = 5


class Handler:
    """The network, bound for each batch size in use, with one set of parameters."""

    def __init__(self, properties):
        directory = properties["model_dir"]
        symbol = next(name for name in os.listdir(directory) if name.endswith("-symbol.json"))
        prefix = os.path.join(directory, symbol[: -len("-symbol.json")])
        self.loaded = mx.model.load_checkpoint(prefix, 0)
        with open(os.path.join(directory, "signature.json")) as stream:
            (row,) = json.load(stream)["inputs"]
        self.name, self.shape = row["data_name"], tuple(row["data_shape"][1:])
        with open(os.path.join(directory, "synset.txt")) as stream:
            self.labels = stream.read().splitlines()
        self.modules = {}
        largest = max(int(properties.get("batch_size") or 1), 1)
        self.largest = self.bound(largest)
        self.bound(1)

    def bound(self, size):
        """Return the network for a batch size."""
        if size not in self.modules:
            symbol, arguments, states = self.loaded
            module = mx.mod.Module(symbol, data_names=[self.name], label_names=None)
            shared = self.modules[max(self.modules)] if self.modules else None
            shapes = [(self.name, (size, *self.shape))]
            module.bind(for_training=False, data_shapes=shapes, shared_module=shared)
            if shared is None:
                module.set_params(arguments, states, allow_missing=True, allow_extra=True)
            self.modules[size] = module
        return self.modules[size]

    def picture(self, row):
        """Return a request's picture as input of the network."""
        _channels, height, width = self.shape
        encoded = row.get(self.name) or row.get("body")
        pixels = mx.image.imresize(mx.image.imdecode(encoded), width, height, 2)
        return mx.nd.transpose(pixels, (2, 0, 1)).expand_dims(0)

    def answer(self, rows):
        """Return the most probable classes of each request."""
        given = mx.nd.concat(*(self.picture(row) for row in rows), dim=0)
        module = self.bound(len(rows))
        module.forward(mx.io.DataBatch([given.astype("float32")]), is_train=False)
        found = module.get_outputs()[0].asnumpy()
        best = (-found).argsort(axis=1)[:, :TOP]
        return [
            [{"class": self.labels[at], "probability": float(row[at])} for at in places]
            for row, places in zip(found, best)
        ]


_loaded = []


def handle(data, context):
    """Answer a batch; the first call loads the network."""
    if not _loaded:
        _loaded.append(Handler(context.system_properties))
    return None if data is None else _loaded[0].answer(data)
