"""Tests of int8: outputs are close to the reference on processors with and without VNNI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from mms_server.inference.backends.int8 import cpu_flags, quantize, range_factor_of

SHAPE = (1, 16, 12, 12)
LAYERS = 4
SEED = 3


@pytest.fixture(scope="module")
def network() -> Any:
    """A network with positive weights only, so that sums of products become large."""
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


def largest_difference(module: Any, other: Any, rows: list[list[Any]]) -> float:
    """Return the largest difference of outputs, as a share of the largest output."""
    found = []
    for each in (module, other):
        outputs = []
        for row in rows:
            each.forward(mx.io.DataBatch(row), is_train=False)
            outputs.append(each.get_outputs()[0].asnumpy())
        found.append(np.stack(outputs))
    return float(np.abs(found[0] - found[1]).max() / np.abs(found[0]).max())


def test_sums_do_not_overflow_on_this_processor(network: Any, rows: list[list[Any]]) -> None:
    assert largest_difference(network, quantize(network, rows, mx.cpu()), rows) < 0.03
    if range_factor_of(cpu_flags()) > 1:
        narrow = quantize(network, rows, mx.cpu(), range_factor=1.0)
        assert largest_difference(network, narrow, rows) > 0.3, "sums overflow without the factor"


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni aes\n", 1.0),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f aes\n", 2.0),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n", 2.0),
        ("processor\t: 0\nFeatures\t: fp asimd\n", 2.0),
    ],
)
def test_only_avx512_vnni_needs_no_wider_ranges(tmp_path: Path, text: str, factor: float) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert range_factor_of(cpu_flags(tmp_path / "cpuinfo")) == factor
    assert cpu_flags(tmp_path / "none") == set()
