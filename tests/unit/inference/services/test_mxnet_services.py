"""Tests of service classes under their names of 0.4, and of finding a file's leaf class."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from mms.log import get_logger
from mms.model_service.model_service import SingleNodeService, load_service
from mms.model_service.mxnet_model_service import MXNetBaseService, check_input_shape
from mms.model_service.mxnet_vision_service import MXNetVisionService
from mms.utils.mxnet import image, ndarray
from mms.utils.timeit_decorator import timeit
from mms_server.core.errors import ServiceError
from mms_server.inference.model_loader import leaf_class, load_model
from mms_server.inference.services import service_templates
from mms_server.inference.services.module import bound_shape, epoch_of
from mms_server.inference.warmup import warm_up

TEMPLATES = Path(service_templates.__file__).parent


def encoded(pixels: Any) -> bytes:
    text = image.write(mx.nd.array(pixels, dtype="uint8"), format="png", dim_order="HWC")
    return base64.b64decode(text)


def write_model(
    directory: Path, *, prefix: str = "net", epoch: int = 0, shape: tuple[int, ...] = (0, 3, 4, 6)
) -> Path:
    directory.mkdir(exist_ok=True)
    symbol = mx.sym.Flatten(mx.sym.Variable("data")) * mx.sym.Variable("scale", shape=(1, 72))
    symbol.save(str(directory / f"{prefix}-symbol.json"))
    weights = {"arg:scale": mx.nd.ones((1, 72)), "arg:unused": mx.nd.ones((1,))}
    mx.nd.save(str(directory / f"{prefix}-{epoch:04d}.params"), weights)
    (directory / "signature.json").write_text(
        json.dumps(
            {
                "inputs": [{"data_name": "data", "data_shape": list(shape)}],
                "input_type": "image/jpeg",
                "outputs": [],
                "output_type": "application/json",
            }
        )
    )
    (directory / "synset.txt").write_text("".join(f" class {n} \n" for n in range(72)))
    (directory / "service.py").write_text((TEMPLATES / "mxnet_vision_service.py").read_text())
    model = {
        "Model-Name": "net",
        "Model-Format": "MXNet-Symbolic",
        "Service": "serv*.py",
        "Signature": "signature.json",
        "Symbol": "*-symbol.json",
        "Parameters": f"{prefix}-{epoch:04d}.params",
    }
    text = {"Model": model, "Engine": {}, "Model-Archive-Version": 0.1, "Model-Server": 0.1}
    (directory / "MANIFEST.json").write_text(json.dumps(text))
    return directory


def halved(pixels: Any, axis: int) -> Any:
    """Halve an axis by OpenCV's interpolation 2: cubic, a = -0.75, edges repeated."""
    values = np.moveaxis(pixels.astype(float), axis, 0)
    padded = np.pad(values, [(1, 1), *[(0, 0)] * (values.ndim - 1)], mode="edge")
    outer, inner = -0.09375, 0.59375
    parts = [padded[start : start + len(values) : 2] for start in range(4)]
    found = outer * (parts[0] + parts[3]) + inner * (parts[1] + parts[2])
    return np.moveaxis(found, 0, axis)


def test_preprocessing_resizes_and_does_not_scale(tmp_path: Path) -> None:
    service = load_model("net", write_model(tmp_path)).service
    pixels = np.random.default_rng(1).integers(60, 196, (8, 12, 3), dtype=np.uint8)
    (batch,) = service._preprocess([encoded(pixels)])
    expected = halved(halved(pixels, 0), 1)
    assert batch.dtype == np.uint8
    assert batch.shape == (1, 3, 4, 6)
    assert np.abs(batch.asnumpy()[0].transpose(1, 2, 0) - expected).max() <= 1


def test_the_answer_is_the_five_most_probable_classes(tmp_path: Path) -> None:
    model = load_model("net", write_model(tmp_path))
    warm_up(model)
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[0, 5, 2] = 200
    pixels[3, 0, 0] = 100
    (rows,) = model.service.inference([encoded(pixels)])
    assert rows[:2] == [
        {"class": "class 53", "probability": 200.0},
        {"class": "class 18", "probability": 100.0},
    ]
    assert len(rows) == 5
    assert model.service.ping() == mx.__version__


def test_without_labels_the_error_names_synset(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "synset.txt").unlink()
    service = load_model("net", tmp_path).service
    with pytest.raises(RuntimeError, match="Did you put synset"):
        service.inference([encoded(np.zeros((4, 6, 3)))])


@pytest.mark.parametrize(
    ("parameters", "model", "epoch"),
    [
        ("net-0012.params", "net", 12),
        ("net-0000.params", "net", 0),
        ("other-0012.params", "net", 0),
        ("net-v2-0012.params", "net", 0),
        ("net.params", "net", 0),
        ("", "net", 0),
    ],
)
def test_the_epoch_is_in_the_name_of_the_parameters_file(
    parameters: str, model: str, epoch: int
) -> None:
    assert epoch_of(parameters, model) == epoch


def test_parameters_are_found_by_prefix_and_epoch(tmp_path: Path) -> None:
    load_model("net", write_model(tmp_path / "a", epoch=7))
    load_model("net", write_model(tmp_path / "b", prefix="other"))
    with pytest.raises(ServiceError, match=r"other-0000\.params are not in the archive"):
        load_model("net", write_model(tmp_path / "c", prefix="other", epoch=7))


def test_variable_sizes_are_bound_as_1() -> None:
    assert bound_shape([0, 3, 0]) == (1, 3, 1)
    assert bound_shape([8, 3]) == (1, 3)


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 5)])
def test_a_signature_that_does_not_match_the_network_is_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ServiceError, match="cannot be bound") as caught:
        load_model("net", write_model(tmp_path, shape=shape))
    assert "\n" not in str(caught.value)


def test_input_shapes_are_compared_with_the_signature() -> None:
    signature = {"inputs": [{"data_name": "data", "data_shape": [0, 3, 0]}]}
    check_input_shape([mx.nd.zeros((5, 3, 9))], signature)
    with pytest.raises(ValueError, match="Input number mismatches"):
        check_input_shape([], signature)
    with pytest.raises(ValueError, match="Shape dimension of input data mismatches"):
        check_input_shape([mx.nd.zeros((5, 3))], signature)
    with pytest.raises(ValueError, match="Input data has different shape"):
        check_input_shape([mx.nd.zeros((5, 4, 9))], signature)


def module(tmp_path: Path, text: str) -> ModuleType:
    file = tmp_path / "mine.py"
    file.write_text(text)
    return load_service(str(file))


HEAD = "from mms.model_service.mxnet_vision_service import MXNetVisionService\n"
BASE = "from mms.model_service.mxnet_model_service import MXNetBaseService\n"
SINGLE = "from mms.model_service.model_service import SingleNodeService\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (HEAD, "MXNetVisionService"),
        (BASE, "MXNetBaseService"),
        (HEAD + BASE, "MXNetVisionService"),
        (HEAD + "class Mine(MXNetVisionService): pass\n", "Mine"),
        (HEAD + BASE + "class Mine(MXNetBaseService): pass\n", "Mine"),
        (BASE + "class A(MXNetBaseService): pass\nclass B(A): pass\n", "B"),
        (
            SINGLE
            + "class MXNetBaseService(SingleNodeService): pass\n"
            + "class GluonImperativeBaseService(SingleNodeService): pass\n",
            "MXNetBaseService",
        ),
    ],
)
def test_the_leaf_class_is_found(tmp_path: Path, text: str, name: str) -> None:
    assert leaf_class(module(tmp_path, text)).__name__ == name


@pytest.mark.parametrize(
    "text",
    ["", SINGLE, BASE + "class A(MXNetBaseService): pass\nclass B(MXNetBaseService): pass\n"],
)
def test_a_file_without_exactly_one_leaf_class_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ServiceError, match="There should be one user defined service"):
        leaf_class(module(tmp_path, text))


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("mxnet_vision_service.py", MXNetVisionService),
        ("mxnet_model_service.py", MXNetBaseService),
    ],
)
def test_service_templates_import_classes_of_the_server(file: str, found: type) -> None:
    assert leaf_class(load_service(str(TEMPLATES / file))) is found


@pytest.mark.parametrize("text", ["import no_such_module", "raise SystemExit(3)", "1 +"])
def test_a_service_file_that_cannot_be_imported_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ServiceError, match="cannot be imported"):
        module(tmp_path, text)


def test_a_service_whose_constructor_fails_is_named(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "service.py").write_text(
        HEAD
        + "class Mine(MXNetVisionService):\n"
        + "    def __init__(self, *arguments):\n        raise KeyError('vocabulary')\n"
    )
    with pytest.raises(ServiceError, match=r"Mine in service\.py does not load model net"):
        load_model("net", tmp_path)


def test_map_filter_and_zip_become_lists() -> None:
    class Lazy(SingleNodeService):
        def _preprocess(self, data: Any) -> Any:
            return map(int, data)

        def _inference(self, data: Any) -> Any:
            assert isinstance(data, list)
            return filter(None, data)

        def _postprocess(self, data: Any) -> Any:
            assert isinstance(data, list)
            return zip(data, data, strict=True)

        def ping(self) -> None:
            return None

        @property
        def signature(self) -> None:
            return None

    assert Lazy("lazy", "", {}).inference(["1", "0", "2"]) == [(1, 1), (2, 2)]


def test_image_helpers() -> None:
    pixels = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    picture = image.read(encoded(pixels))
    assert (picture.asnumpy() == pixels).all()
    assert (image.read(encoded(pixels), to_rgb=False).asnumpy() == pixels[..., ::-1]).all()
    assert image.transform_shape(picture).shape == (1, 3, 2, 4)
    assert image.transform_shape(picture, "NHWC").shape == (1, 2, 4, 3)
    assert image.resize(picture, 8, 6).shape == (6, 8, 3)
    assert (image.fixed_crop(picture, 1, 0, 2, 2).asnumpy() == pixels[:, 1:3]).all()
    normal = image.color_normalize(picture, mx.nd.array([1, 1, 1]), mx.nd.array([2, 2, 2]))
    assert np.allclose(normal.asnumpy(), (pixels - 1.0) / 2)
    grey = image.read(base64.b64decode(image.write(picture[:, :, :1], 0, "png", "HWC")), flag=0)
    assert (grey.asnumpy()[..., 0] == pixels[..., 0]).all()
    with pytest.raises(ValueError, match="dim_order"):
        image.transform_shape(picture, "CHW")


def test_top_probability_removes_dimensions_of_size_1_and_sorts() -> None:
    values = mx.nd.array([[0.1, 0.5, 0.4]]).reshape((1, 3, 1, 1))
    rows = ndarray.top_probability(values, ["a", "b", "c"], top=2)
    assert [row["class"] for row in rows] == ["b", "c"]


def test_timeit_logs_the_duration(caplog: pytest.LogCaptureFixture) -> None:
    assert get_logger().name == "mms"
    with caplog.at_level("INFO"):
        assert timeit(abs)(-1) == 1
    assert "abs took" in caplog.text
