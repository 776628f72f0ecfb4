"""Rows about the service classes and the names that service files import (compatibility.md, 10)."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable

import mxnet as mx
import numpy as np
import pytest

from mms.model_service.mxnet_model_service import check_input_shape
from mms_server.archives.extract import unpack
from mms_server.inference.model_loader import LoadedModel, load_model
from tests.compat.request_table import picture
from tests.compat.rows import Ground, kept


def has(module: str, name: str, *parameters: str) -> Callable[[Ground], None]:
    """Return a check that a module has a name, with these parameters (``name=default`` or name)."""

    def check(_ground: Ground) -> None:
        found = getattr(importlib.import_module(module), name)
        if parameters:
            shown = []
            for one in inspect.signature(found).parameters.values():
                given = one.default is not inspect.Parameter.empty
                shown.append(f"{one.name}={one.default!r}" if given else one.name)
            assert tuple(shown) == parameters

    return check


def all_of(*checks: Callable[[Ground], None]) -> Callable[[Ground], None]:
    def check(ground: Ground) -> None:
        for one in checks:
            one(ground)

    return check


def load(ground: Ground, model: str) -> LoadedModel:
    directory = ground.directory / model
    unpack(ground.archives[model], directory)
    return load_model(model, directory)


def _attributes(ground: Ground) -> None:
    service = load(ground, "photo").service
    assert service.ctx == mx.cpu()
    assert service.model_name == "photo"
    assert service.param_filename == "photo-0000.params"
    assert service.labels[3] == "n0003 class 3"
    assert service.signature == service._signature
    assert isinstance(service.mx_model, mx.mod.Module)
    assert service.ping() == mx.__version__


def _steps(ground: Ground) -> None:
    service = load(ground, "pair").service
    data = service._preprocess([[[1, 2, 3]], [[1, 1, 1]]])
    outputs = service._inference(data)
    assert [out.asnumpy().tolist() for out in outputs] == [[[4, 6, 8]], [[0, 1, 2]]]
    assert service._postprocess(outputs) == ["[[4.0, 6.0, 8.0]]", "[[0.0, 1.0, 2.0]]"]


def _vision(ground: Ground) -> None:
    service = load(ground, "photo").service
    (array,) = service._preprocess([picture("exact.png")])
    assert (array.shape, array.dtype) == ((1, 3, 16, 16), np.uint8)
    # Red grows from left to right, green from top to bottom: RGB, and nothing is scaled.
    assert array[0, 0, 0, 15].asscalar() == 239
    assert array[0, 1, 15, 0].asscalar() == 239
    (stretched,) = service._preprocess([picture("photo.jpg")])
    assert stretched.shape == (1, 3, 16, 16)


def _shapes(_ground: Ground) -> None:
    signature = {"inputs": [{"data_name": "x", "data_shape": [0, 3, 0]}]}
    check_input_shape([mx.nd.zeros((7, 3, 9))], signature)
    for arrays, words in (
        ([], "Input number mismatches with signature."),
        ([mx.nd.zeros((1, 3))], "Shape dimension of input x mismatches with signature."),
        ([mx.nd.zeros((1, 4, 1))], "Input x has different shape with signature."),
    ):
        with pytest.raises(Exception, match=words):
            check_input_shape(arrays, signature)


_SERVICE = "mms.model_service.model_service"
_MXNET = "mms.model_service.mxnet_model_service"
_VISION = "mms.model_service.mxnet_vision_service"
_IMAGE = "mms.utils.mxnet.image"
_CONSTRUCTOR = ("model_name", "model_dir", "manifest", "gpu=None")

ROWS = (
    kept(
        "10",
        "ModelService, SingleNodeService, MultiNodesService, load_service and URL_PREFIX exist.",
        all_of(
            has(_SERVICE, "ModelService", *_CONSTRUCTOR),
            has(_SERVICE, "SingleNodeService", *_CONSTRUCTOR),
            has(_SERVICE, "MultiNodesService"),
            has(_SERVICE, "load_service", "path", "name=None"),
            has(_SERVICE, "URL_PREFIX"),
        ),
    ),
    kept(
        "10",
        "MXNetBaseService and check_input_shape exist.",
        all_of(
            has(_MXNET, "MXNetBaseService", *_CONSTRUCTOR),
            has(_MXNET, "check_input_shape", "inputs", "signature"),
        ),
    ),
    kept(
        "10",
        "MXNetVisionService exists.",
        has(_VISION, "MXNetVisionService", *_CONSTRUCTOR),
    ),
    kept(
        "10",
        "image.read, resize, transform_shape, fixed_crop, color_normalize and write exist.",
        all_of(
            has(_IMAGE, "read", "buf", "flag=1", "to_rgb=True", "out=None"),
            has(_IMAGE, "resize", "src", "new_width", "new_height", "interp=2"),
            has(_IMAGE, "transform_shape", "img_arr", "dim_order='NCHW'"),
            has(_IMAGE, "fixed_crop", "src", "x0", "y0", "w", "h", "size=None", "interp=2"),
            has(_IMAGE, "color_normalize", "src", "mean", "std=None"),
            has(_IMAGE, "write", "img_arr", "flag=1", "format='jpeg'", "dim_order='CHW'"),
        ),
    ),
    kept(
        "10",
        "ndarray.top_probability, timeit and get_logger exist.",
        all_of(
            has("mms.utils.mxnet.ndarray", "top_probability", "data", "labels", "top=5"),
            has("mms.utils.timeit_decorator", "timeit"),
            has("mms.log", "get_logger"),
        ),
    ),
    kept("10", "The base service has ctx, mx_model, labels and its other attributes.", _attributes),
    kept(
        "10",
        "inference calls _preprocess, _inference, _postprocess; each can be called separately.",
        _steps,
    ),
    kept(
        "10",
        "A vision service stretches pictures to the signature's size: RGB, NCHW, unscaled values.",
        _vision,
    ),
    kept(
        "8.3", "Number, rank and sizes of inputs are checked, with the error texts of 0.4.", _shapes
    ),
)
