"""Backends that compute a model's network in place of plain MXNet: int8 and ONNX Runtime.

The setting ``engine`` selects the backend of a model (docs/internals/backends.md).
"""
