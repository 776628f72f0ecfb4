"""ResNet-18 in PyTorch, as Gluon's resnet18_v1: ``torch_network.py FILE`` writes it.

The weights are random, from a seed: the comparison is about speed, not about answers.
"""

import sys

import torch
from torch import nn

CLASSES = 1000
WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """Two convolutions with a shortcut connection."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        around = [nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)]
        self.around = nn.Sequential(*(around if stride != 1 or before != after else []))

    def forward(self, given):
        """Return the sum of the convolutions and the shortcut."""
        return torch.relu(self.body(given) + self.around(given))


def network():
    """Return the network; its outputs are probabilities."""
    torch.manual_seed(42)
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    before = 64
    for width in WIDTHS:
        layers += [Block(before, width, 1 if width == before else 2), Block(width, width, 1)]
        before = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES), nn.Softmax(1)]
    return nn.Sequential(*layers).eval()


if __name__ == "__main__":
    with torch.inference_mode():
        traced = torch.jit.trace(network(), torch.zeros(1, 3, 224, 224))
        torch.jit.save(torch.jit.freeze(traced.eval()), sys.argv[1])
