"""The raw limit L: a bare loop of preprocessing, forward and postprocessing, without HTTP.

``python -m tests.bench.limit DIRECTORY PICTURE ENGINE`` loads an unpacked archive as a worker does.
It prints the most probable class, and then runs once for each input line ``BATCH SECONDS``.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ANY_DIFFERENCE = 1.0
"""The tolerance of engines: random weights give answers without meaning, so it is wide."""

_ANSWER_LIMIT_S = 120.0


@dataclass(frozen=True)
class Shape:
    """The shape of a measurement: processes, engine threads in each, pictures in one forward."""

    processes: int
    threads: int
    batch: int


def shapes(cores: int, batches: Sequence[int]) -> list[Shape]:
    """Return the shapes to try: one thread per process, or all in one, at each batch size."""
    spread = sorted({(1, 1), (cores, 1), (1, cores)})
    return [Shape(*pair, batch) for pair in spread for batch in batches]


class Limit:
    """Processes that are loaded once and loop on request; leaving the context ends them.

    Methods raise RuntimeError when a process has ended or does not answer in time.
    """

    def __init__(self, directory: Path, picture: Path, cores: int, engine: str) -> None:
        told = [str(directory), str(picture), engine]
        self._single = [_Loop(told, 1) for _ in range(cores)]
        self._wide = _Loop(told, cores) if cores > 1 else self._single[0]
        self._cores = cores
        self.top = ""

    def __enter__(self) -> Limit:
        try:
            self.top = {loop.read()["top"] for loop in self._loops()}.pop()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def rate(self, shape: Shape, seconds: float) -> float:
        """Return the pictures per second of all processes together."""
        loops = [self._wide] if shape.threads > 1 else self._single[: shape.processes]
        for loop in loops:
            loop.begin(shape.batch, seconds)
        return sum(float(loop.read()["rate"]) for loop in loops)

    def best(self, batches: Sequence[int], seconds: float) -> Shape:
        """Return the shape with the highest rate, after a short run of each."""
        tried = shapes(self._cores, batches)
        # The first forward of a batch size allocates memory.
        for shape in tried:
            self.rate(shape, 0)
        return max(tried, key=lambda shape: self.rate(shape, seconds))

    def _loops(self) -> list[_Loop]:
        return list(dict.fromkeys([*self._single, self._wide]))

    def _end(self) -> None:
        for loop in self._loops():
            loop.end()


class _Loop:
    def __init__(self, told: Sequence[str], threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.limit", *told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            text=True,
        )

    def begin(self, batch: int, seconds: float) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{batch} {seconds}\n")
        self._process.stdin.flush()

    def read(self) -> Any:
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER_LIMIT_S)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError("the bare loop ended, or did not answer in time: see above")
        return json.loads(line)

    def end(self) -> None:
        self._process.kill()
        self._process.wait(10)


def _run(once: Callable[[], object], batch: int, seconds: float) -> float:
    started, count = time.perf_counter(), 0
    while True:
        once()
        count += batch
        taken = time.perf_counter() - started
        if taken >= seconds:
            return count / taken


def _single(service: Any, jpeg: bytes) -> Callable[[], object]:
    # The controlling process does not need the engine, so the import is here.
    return lambda: json.dumps({"prediction": service.inference([jpeg])})


def _batched(service: Any, jpeg: bytes, batch: int) -> Callable[[], object]:
    from mms_server.inference.batching.batch_compute import network_of  # noqa: PLC0415 - likewise

    network = network_of(service)
    if network is None:
        raise RuntimeError("the service runs its network itself, so it has no batches")
    network.prepare(batch)

    def once() -> None:
        rows = [service._preprocess([jpeg]) for _ in range(batch)]
        for row in network.run(rows, batch):
            json.dumps({"prediction": service._postprocess(row)})

    return once


def main(directory: Path, picture: Path, engine: str) -> int:
    """Load, print the class, and loop for each line of input."""
    from mms_server.archives.golden_samples import Sample  # noqa: PLC0415 - likewise
    from mms_server.inference.backends import selection  # noqa: PLC0415 - likewise
    from mms_server.inference.model_loader import load_model  # noqa: PLC0415 - likewise

    model = load_model(directory.name, directory)
    service, jpeg = model.service, picture.read_bytes()
    selection.switch_backend(
        model, selection.BackendChoice(engine, ANY_DIFFERENCE), [Sample((jpeg,))]
    )
    print(json.dumps({"top": service.inference([jpeg])[0][0]["class"]}), flush=True)  # noqa: T201
    made: dict[int, Callable[[], object]] = {1: _single(service, jpeg)}
    for line in sys.stdin:
        words = line.split()
        batch, seconds = int(words[0]), float(words[1])
        if batch not in made:
            made[batch] = _batched(service, jpeg, batch)
        rate = _run(made[batch], batch, seconds)
        print(json.dumps({"rate": rate}), flush=True)  # noqa: T201 - the other side reads it
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
