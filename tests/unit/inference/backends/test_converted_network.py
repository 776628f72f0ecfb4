"""Tests of the cache of converted networks: converted once, and compared at each load."""

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
def cache(tmp_path: Path) -> ConversionCache:
    (tmp_path / "entry").mkdir()
    return ConversionCache(tmp_path / "entry", tmp_path / "outbox")


def move_to_store(cache: ConversionCache) -> None:
    """Move the file from the outbox into the store, as root does."""
    assert cache.outbox
    assert cache.entry
    cache.outbox.rename(cache.entry / FILE_NAME)


def switch(engine: str, cache: ConversionCache) -> tuple[Any, list[Any]]:
    """Return a service on a backend, and its answers."""
    service, inputs = Service(convolution()), samples(6)
    assert selection.switch_backend(model(service), BackendChoice(engine, 0.05), inputs, cache)
    return service, answers(service, inputs)


@pytest.fixture
def no_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_args: object, **_more: object) -> None:
        raise AssertionError("the network is converted again")

    monkeypatch.setattr(onnx_module, "convert", called)
    monkeypatch.setattr(int8, "quantize_graph", called)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_is_converted_once(
    engine: str, cache: ConversionCache, request: pytest.FixtureRequest
) -> None:
    _service, before = switch(engine, cache)
    move_to_store(cache)
    request.getfixturevalue("no_converter")
    service, after = switch(engine, cache)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert type(service.mx_model).__name__ == (
        "Module" if engine == backend_names.INT8 else "OnnxModule"
    )
    assert not cache.outbox or not cache.outbox.exists(), "no new conversion"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("other", ["damaged", "cut off", "empty", "no json", "another network"])
def test_an_unusable_cached_network_is_converted_again(
    engine: str, other: str, cache: ConversionCache, caplog: pytest.LogCaptureFixture
) -> None:
    assert cache.entry
    assert cache.outbox
    _service, expected = switch(engine, cache)
    good = cache.outbox.read_bytes()
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
        selection.switch_backend(
            model(strange),
            BackendChoice(engine, 0.05),
            samples(6),
            ConversionCache(outbox=cache.outbox),
        )
        bad = cache.outbox.read_bytes()
    cache.outbox.unlink()
    (cache.entry / FILE_NAME).write_bytes(bad)
    with caplog.at_level(logging.WARNING):
        _service, found = switch(engine, cache)
    for one, two in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)
    assert cache.outbox.exists(), "the new conversion is in the outbox"


def test_a_network_of_another_converter_is_not_used(cache: ConversionCache) -> None:
    assert cache.entry
    made = Conversion({"engine": "int8", "mxnet": "1"}, b"data\nwith lines")
    (cache.entry / FILE_NAME).write_bytes(made.to_bytes())
    assert cache.read(dict(made.header)) == made
    assert cache.read({**made.header, "mxnet": "2"}) is None
    assert cache.read({**made.header, "spread": 2.0}) is None
    assert ConversionCache().read({}) is None


def test_a_network_over_the_size_limit_is_not_cached(
    cache: ConversionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.outbox
    made = Conversion({"engine": "int8"}, b"x" * 10)
    monkeypatch.setattr(converted_network, "MAX_BYTES", len(made.to_bytes()) - 1)
    cache.publish(made)
    assert not cache.outbox.exists()
    monkeypatch.setattr(converted_network, "MAX_BYTES", len(made.to_bytes()))
    cache.publish(made)
    assert json.loads(cache.outbox.read_bytes().split(b"\n")[0]) == made.header


def test_an_outbox_that_cannot_be_written_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ConversionCache(outbox=tmp_path / "none" / "outbox").publish(Conversion({}, b""))
    assert "the converted network cannot be kept" in caplog.text


def test_only_a_cached_network_is_logged_as_read_from_the_store(
    cache: ConversionCache, caplog: pytest.LogCaptureFixture
) -> None:
    assert cache.entry
    other = Conversion({"engine": backend_names.ONNXRUNTIME, "mxnet": "0"}, b"")
    (cache.entry / FILE_NAME).write_bytes(other.to_bytes())
    with caplog.at_level(logging.INFO):
        switch(backend_names.ONNXRUNTIME, cache)
        assert "read from the store" not in caplog.text
        move_to_store(cache)
        switch(backend_names.ONNXRUNTIME, cache)
        assert "read from the store" in caplog.text
