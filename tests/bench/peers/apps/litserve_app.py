"""LitServe with the same network and engine: ``litserve_app.py DIRECTORY PORT WORKERS``."""

import io
import json
import sys
from pathlib import Path

import litserve
import mxnet as mx
import numpy as np
from PIL import Image

TOP = 5


class Network(litserve.LitAPI):
    """One forward per request: on a CPU, batches of such networks are not faster."""

    def setup(self, device):
        """Load the network, and run it once."""
        del device
        directory = Path(sys.argv[1])
        (symbol,) = directory.glob("*-symbol.json")
        prefix = str(symbol)[: -len("-symbol.json")]
        network, arguments, states = mx.model.load_checkpoint(prefix, 0)
        (row,) = json.loads((directory / "signature.json").read_text())["inputs"]
        self.shape = (1, *row["data_shape"][1:])
        self.labels = (directory / "synset.txt").read_text().splitlines()
        self.module = mx.mod.Module(network, data_names=[row["data_name"]], label_names=None)
        self.module.bind(for_training=False, data_shapes=[(row["data_name"], self.shape)])
        self.module.set_params(arguments, states, allow_missing=True, allow_extra=True)
        self.predict(np.zeros(self.shape, np.float32))

    def decode_request(self, request):
        """Return the picture as input of the network."""
        picture = Image.open(io.BytesIO(request["data"].file.read())).convert("RGB")
        pixels = np.asarray(picture.resize(self.shape[:1:-1]))
        return pixels.transpose(2, 0, 1)[None].astype(np.float32)

    def predict(self, given):
        """Return the probabilities."""
        self.module.forward(mx.io.DataBatch([mx.nd.array(given)]), is_train=False)
        return self.module.get_outputs()[0].asnumpy()[0]

    def encode_response(self, found):
        """Return the most probable classes."""
        best = (-found).argsort()[:TOP]
        rows = [{"class": self.labels[at], "probability": float(found[at])} for at in best]
        return {"prediction": [rows]}


if __name__ == "__main__":
    server = litserve.LitServer(
        Network(),
        accelerator="cpu",
        workers_per_device=int(sys.argv[3]),
        healthcheck_path="/ping",
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning"
    )
