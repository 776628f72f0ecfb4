"""The engines that a model may have, and how far each may be from MXNet's answers by default."""

from __future__ import annotations

from typing import Final

MXNET: Final = "mxnet"
"""The reference: the network as it is in the archive."""

INT8: Final = "int8"
"""MXNet on whole numbers of 8 bits, calibrated with the model's golden samples."""

ONNXRUNTIME: Final = "onnxruntime"
"""ONNX Runtime on the network, converted when the release loads."""

TOLERANCES: Final = {MXNET: 0.0, INT8: 0.05, ONNXRUNTIME: 0.001}
"""By engine, how far an output may be from the reference's, as a share of its largest number.

Rounding to 8 bits moves each number by up to 0.4 % of the largest, in every layer; another order
of float32 sums is seen in the fifth digit.
"""
