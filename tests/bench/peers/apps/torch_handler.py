"""A handler of TorchServe for a traced network: pictures in, the most probable classes out."""

import io
import os

import numpy as np
import torch
from PIL import Image

SIDE, TOP = 224, 5

torch.set_num_threads(1)


class Handler:
    """Computes the batches that TorchServe collects."""

    def initialize(self, context):
        """Load the network, and run it once."""
        directory = context.system_properties["model_dir"]
        self.network = torch.jit.load(os.path.join(directory, "network.pt")).eval()
        with torch.inference_mode():
            self.network(torch.zeros(1, 3, SIDE, SIDE))

    def handle(self, data, context):
        """Answer a batch."""
        given = torch.stack([picture(row.get("data") or row.get("body")) for row in data])
        with torch.inference_mode():
            found = self.network(given.float() / 255)
            values, places = found.topk(TOP)
        return [
            [{"class": f"class-{at}", "probability": value} for at, value in zip(*row)]
            for row in zip(places.tolist(), values.tolist())
        ]


def picture(encoded):
    """Return a picture as input of the network."""
    pixels = Image.open(io.BytesIO(encoded)).convert("RGB").resize((SIDE, SIDE))
    return torch.from_numpy(np.asarray(pixels).copy()).permute(2, 0, 1)
