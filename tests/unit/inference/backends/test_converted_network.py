"""A network is converted once, and what is kept of it is never trusted."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mms_server.config import backend_names
from mms_server.inference.backends import converted_network, int8, onnx_module, selection
from mms_server.inference.backends.converted_network import FILE_NAME, Conversion, ConversionCache
from mms_server.inference.backends.selection import BackendChoice
from tests.unit.inference.backends.test_selection import (
    Service,
    answers,
    convolution,
    model,
    samples,
)

ENGINES = [backend_names.INT8, backend_names.ONNXRUNTIME]


@pytest.fixture
def places(tmp_path: Path) -> ConversionCache:
    (tmp_path / "entry").mkdir()
    return ConversionCache(tmp_path / "entry", tmp_path / "left")


def keep(places: ConversionCache) -> None:
    """Do what root does."""
    assert places.left
    assert places.entry
    places.left.rename(places.entry / FILE_NAME)


def given(engine: str, kept: ConversionCache) -> tuple[Any, list[Any]]:
    """Return the service on an engine, and its answers."""
    service, asked = Service(convolution()), samples(6)
    assert selection.give(model(service), BackendChoice(engine, 0.05), asked, kept)
    return service, answers(service, asked)


@pytest.fixture
def no_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_args: object, **_more: object) -> None:
        raise AssertionError("it is converted")

    monkeypatch.setattr(onnx_module, "converted", called)
    monkeypatch.setattr(int8, "quantize_graph", called)


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_converted_once(
    engine: str, places: ConversionCache, request: pytest.FixtureRequest
) -> None:
    _service, before = given(engine, places)
    keep(places)
    request.getfixturevalue("no_converter")
    service, after = given(engine, places)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert type(service.mx_model).__name__ == (
        "Module" if engine == backend_names.INT8 else "OnnxModule"
    )
    assert not places.left or not places.left.exists(), "there is nothing new"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("other", ["damaged", "cut off", "empty", "no json", "another network"])
def test_what_cannot_be_used_is_converted_again(
    engine: str, other: str, places: ConversionCache, caplog: pytest.LogCaptureFixture
) -> None:
    assert places.entry
    assert places.left
    _service, expected = given(engine, places)
    good = places.left.read_bytes()
    head, _end, data = good.partition(b"\n")
    bad = {
        "damaged": head + b"\n" + bytes(len(data)),
        "cut off": good[: len(head) + 1 + len(data) // 2],
        "empty": b"",
        "no json": b"[" * 100_000 + b"\n",
        "another network": b"",
    }[other]
    if other == "another network":
        strange = Service(convolution())
        weights = {name: 3 * each for name, each in strange.mx_model.get_params()[0].items()}
        strange.mx_model.set_params(weights, {})
        selection.give(
            model(strange),
            BackendChoice(engine, 0.05),
            samples(6),
            ConversionCache(left=places.left),
        )
        bad = places.left.read_bytes()
    places.left.unlink()
    (places.entry / FILE_NAME).write_bytes(bad)
    with caplog.at_level(logging.WARNING):
        _service, found = given(engine, places)
    for one, two in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)
    assert places.left.exists(), "the new one is kept instead"


def test_what_another_version_made_is_not_read(places: ConversionCache) -> None:
    assert places.entry
    made = Conversion({"engine": "int8", "mxnet": "1"}, b"data\nwith lines")
    (places.entry / FILE_NAME).write_bytes(made.to_bytes())
    assert places.read(dict(made.about)) == made
    assert places.read({**made.about, "mxnet": "2"}) is None
    assert places.read({**made.about, "spread": 2.0}) is None
    assert ConversionCache().read({}) is None


def test_one_just_over_the_limit_is_not_left(
    places: ConversionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places.left
    made = Conversion({"engine": "int8"}, b"x" * 10)
    monkeypatch.setattr(converted_network, "MAX_BYTES", len(made.to_bytes()) - 1)
    places.leave(made)
    assert not places.left.exists()
    monkeypatch.setattr(converted_network, "MAX_BYTES", len(made.to_bytes()))
    places.leave(made)
    assert json.loads(places.left.read_bytes().split(b"\n")[0]) == made.about


def test_a_place_that_cannot_be_written_costs_no_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ConversionCache(left=tmp_path / "none" / "left").leave(Conversion({}, b""))
    assert "not kept" in caplog.text


def test_one_that_is_made_again_is_not_said_to_be_kept(
    places: ConversionCache, caplog: pytest.LogCaptureFixture
) -> None:
    assert places.entry
    other = Conversion({"engine": backend_names.ONNXRUNTIME, "mxnet": "0"}, b"")
    (places.entry / FILE_NAME).write_bytes(other.to_bytes())
    with caplog.at_level(logging.INFO):
        given(backend_names.ONNXRUNTIME, places)
        assert "was kept" not in caplog.text
        keep(places)
        given(backend_names.ONNXRUNTIME, places)
        assert "was kept" in caplog.text
