"""The engines of models, and the default tolerance of each against MXNet's outputs."""

from __future__ import annotations

from typing import Final

MXNET: Final = "mxnet"
"""The reference: MXNet on the network of the archive."""

INT8: Final = "int8"
"""MXNet on a network quantised to 8-bit integers, calibrated with the model's golden samples."""

ONNXRUNTIME: Final = "onnxruntime"
"""ONNX Runtime on the network, which is converted when the release loads."""

TOLERANCES: Final = {MXNET: 0.0, INT8: 0.05, ONNXRUNTIME: 0.001}
"""Engine -> how far an output may be from the reference's, as a share of its largest number.

Rounding to 8 bits moves each number by up to 0.4 % of the largest, in each layer. Another order of
float32 sums changes the fifth digit.
"""
