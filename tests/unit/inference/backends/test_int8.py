"""Networks of whole numbers are near the reference on every processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from mms_server.inference.backends.int8 import _flags, quantized, spread_of

SHAPE = (1, 16, 12, 12)
LAYERS = 4
SEED = 3


@pytest.fixture(scope="module")
def network() -> Any:
    """Layers whose products add up: all weights are positive."""
    random = np.random.default_rng(SEED)
    symbol, parameters = mx.sym.Variable("data"), {}
    for number in range(LAYERS):
        name = f"conv{number}"
        symbol = mx.sym.Convolution(symbol, kernel=(3, 3), num_filter=16, no_bias=True, name=name)
        symbol = mx.sym.Activation(symbol, act_type="relu")
        weights = random.uniform(0.5, 1, (16, 16, 3, 3)) / (16 * 9)
        parameters[f"{name}_weight"] = mx.nd.array(weights)
    module = mx.mod.Module(symbol, data_names=["data"], label_names=None)
    module.bind(data_shapes=[("data", SHAPE)], for_training=False)
    module.set_params(parameters, {})
    return module


@pytest.fixture(scope="module")
def rows() -> list[list[Any]]:
    random = np.random.default_rng(SEED)
    return [[mx.nd.array(random.uniform(0.5, 1, SHAPE))] for _ in range(3)]


def alone(module: Any, other: Any, rows: list[list[Any]]) -> float:
    """Return the largest difference of outputs, as a share of the largest output."""
    found = []
    for each in (module, other):
        outputs = []
        for row in rows:
            each.forward(mx.io.DataBatch(row), is_train=False)
            outputs.append(each.get_outputs()[0].asnumpy())
        found.append(np.stack(outputs))
    return float(np.abs(found[0] - found[1]).max() / np.abs(found[0]).max())


def test_its_numbers_do_not_overflow_on_this_processor(network: Any, rows: list[list[Any]]) -> None:
    assert alone(network, quantized(network, rows, mx.cpu()), rows) < 0.03
    if spread_of(_flags()) > 1:
        narrow = quantized(network, rows, mx.cpu(), spread=1.0)
        assert alone(network, narrow, rows) > 0.3, "it is what the spread is for"


@pytest.mark.parametrize(
    ("text", "spread"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni aes\n", 1.0),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f aes\n", 2.0),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n", 2.0),
        ("processor\t: 0\nFeatures\t: fp asimd\n", 2.0),
    ],
)
def test_only_one_kind_of_processor_adds_up_without_overflow(
    tmp_path: Path, text: str, spread: float
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert spread_of(_flags(tmp_path / "cpuinfo")) == spread
    assert _flags(tmp_path / "none") == set()
