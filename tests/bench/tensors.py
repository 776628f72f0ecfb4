"""The cost of a large tensor, binary and as JSON: ``python -m tests.bench.tensors``.

A release gets 150,000 float32 (600 kB) and answers the last one, so the cost is that of passing the
tensor to the engine. Runs of both formats alternate; the answers are compared. A release that gets
one number shows the cost of a request itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import mxnet as mx
import numpy as np
import psutil

from mms_server.export import export_model
from tests.bench.report import say, write
from tests.fixtures.servers import ROOT, Server, release_server, write_release

NUMBERS: Final = 150_000
MODEL: Final = "last"
_SEED: Final = 1
_APART: Final = 1e-6
_PATH: Final = f"/v2/models/{MODEL}/infer"
_HEAD: Final = "Inference-Header-Content-Length"


@dataclass
class Form:
    """A format of the tensor; ``cpu_ms`` are the worker's CPU milliseconds per request, by run."""

    name: str
    body: bytes
    headers: dict[str, str]
    cpu_ms: list[float] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tensors", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--requests", type=int, default=200, metavar="N", help="of each run")
    parser.add_argument("--output", type=Path, default=ROOT / "build/tensors.json", metavar="FILE")
    options = parser.parse_args(argv)
    values = np.random.default_rng(_SEED).random((1, NUMBERS), dtype=np.float32)
    least = values[:, :1]
    forms = [_binary(values), _json(values), replace(_binary(least), name="binary, one number")]
    with ExitStack() as stack:
        servers = [_serving(stack, NUMBERS), _serving(stack, 1)]
        asked = [servers[0], servers[0], servers[1]]
        for form, server, sent in zip(forms, asked, (values, values, least), strict=True):
            if abs(_asked(server, form) - float(sent[0, -1])) > _APART:
                raise RuntimeError("the answers are not those of the tensor")
        for run in range(options.runs):
            for form, server in zip(forms, asked, strict=True):
                form.cpu_ms.append(_cost_ms(server, form, options.requests))
                say(f"run {run + 1}: {form.name} {form.cpu_ms[-1]:.2f} ms")
    medians = [statistics.median(form.cpu_ms) for form in forms]
    any_ms = medians[-1]
    rows = [
        "| form | body kB | worker's CPU ms a request | of them the tensor's | all runs |",
        "|---|--:|--:|--:|---|",
    ]
    rows += [
        f"| {form.name} | {len(form.body) / 1000:.0f} | {median:.2f} | {median - any_ms:.2f} "
        f"| {' '.join(f'{one:.2f}' for one in form.cpu_ms)} |"
        for form, median in zip(forms, medians, strict=True)
    ]
    rows.append(
        f"\nAs JSON a request costs {medians[1] / medians[0]:.1f} times as much; the tensor in it "
        f"{medians[1] - any_ms:.2f} ms against {medians[0] - any_ms:.2f}, of which "
        f"{_engine_ms(values):.2f} are the copy into the engine."
    )
    print("\n".join(rows))  # noqa: T201 - a program's output
    found = [{"form": form.name, "bytes": len(form.body), "cpu_ms": form.cpu_ms} for form in forms]
    write({"rows": found}, options.output)
    return 0


def _serving(stack: ExitStack, numbers: int) -> Server:
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mms-bench-")))
    release = write_release(place, _archive(place, numbers))
    return stack.enter_context(release_server(place, release))


def _engine_ms(values: np.ndarray, times: int = 500) -> float:
    """Return the CPU milliseconds for creating the engine's tensor in this process."""
    began = time.process_time()
    for _ in range(times):
        mx.nd.array(values).wait_to_read()
    return 1000 * (time.process_time() - began) / times


def _row(values: np.ndarray) -> dict[str, object]:
    return {"name": "data", "shape": list(values.shape), "datatype": "FP32"}


def _binary(values: np.ndarray) -> Form:
    data = values.astype("<f4").tobytes()
    row = {**_row(values), "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [row]}).encode()
    kind = {"Content-Type": "application/octet-stream"}
    return Form("binary", head + data, {_HEAD: str(len(head)), **kind})


def _json(values: np.ndarray) -> Form:
    row = {**_row(values), "data": values[0].tolist()}
    body = json.dumps({"inputs": [row]}).encode()
    return Form("JSON", body, {"Content-Type": "application/json"})


def _asked(server: Server, form: Form) -> float:
    answer = server.request("POST", _PATH, form.body, form.headers)
    if answer.status != 200:
        raise RuntimeError(f"{form.name}: {answer.status}: {answer.body[:200]!r}")
    return float(answer.json["outputs"][0]["data"][0])


def _cost_ms(server: Server, form: Form, requests: int) -> float:
    (worker,) = server.workers()
    process = psutil.Process(worker)
    before = process.cpu_times()
    for _ in range(requests):
        _asked(server, form)
    after = process.cpu_times()
    return 1000 * (after.user + after.system - before.user - before.system) / requests


def _archive(directory: Path, numbers: int) -> Path:
    source = directory / MODEL
    source.mkdir()
    last = mx.sym.slice_axis(mx.sym.Variable("data"), axis=1, begin=numbers - 1, end=numbers)
    symbol = mx.sym.broadcast_mul(last, mx.sym.Variable("factor", shape=(1, 1)))
    symbol.save(str(source / f"{MODEL}-symbol.json"))
    mx.nd.save(str(source / f"{MODEL}-0000.params"), {"arg:factor": mx.nd.ones((1, 1))})
    signature = {
        "inputs": [{"data_name": "data", "data_shape": [0, numbers]}],
        "input_type": "application/json",
        "outputs": [{"data_name": MODEL, "data_shape": [0, 1]}],
        "output_type": "application/json",
    }
    (source / "signature.json").write_text(json.dumps(signature))
    target = directory / f"{MODEL}.model"
    export_model(MODEL, str(source), None, str(target))
    return target


if __name__ == "__main__":
    sys.exit(main())
