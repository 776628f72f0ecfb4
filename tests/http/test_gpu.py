"""Tests of workers on GPUs: each loads its own model, and its slot selects its GPU.

The service class of the test model answers the number of its GPU, and computes on the CPU. So the
processes are real, and the tests need no GPU.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.fixtures import models
from tests.fixtures.servers import Server, release_server, until, write_release

SERVICE = """
import os

from mms.model_service.mxnet_model_service import MXNetBaseService


class GpuService(MXNetBaseService):
    def __init__(self, model_name, model_dir, manifest, gpu=None):
        super().__init__(model_name, model_dir, manifest, None)
        self.gpu = gpu

    def _postprocess(self, data):
        return {"pid": os.getpid(), "gpu": self.gpu}
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.scripted(tmp_path_factory.mktemp("gpu"), SERVICE)


def devices(server: Server, workers: int) -> dict[int, int]:
    """Send requests until every worker has answered; return process id -> GPU."""
    found: dict[int, int] = {}

    def all_answered() -> bool:
        answer = server.predict("scripted", {"order": b"[[0]]"}).json["prediction"]
        found[answer["pid"]] = answer["gpu"]
        alive = server.workers()
        return len(alive) == workers and set(alive) <= found.keys()

    until(all_answered)
    return {pid: found[pid] for pid in server.workers()}


def test_gpus_are_assigned_round_robin_and_kept_by_successors(
    releases: Path, archive: Path
) -> None:
    release = write_release(releases, archive, workers=3, num_gpu=2)
    with release_server(releases, release) as server:
        before = devices(server, 3)
        assert sorted(before.values()) == [0, 0, 1]
        (victim,) = (pid for pid, gpu in before.items() if gpu == 1)
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in server.workers())
        after = devices(server, 3)
        (successor,) = after.keys() - before.keys()
        assert after[successor] == 1


def test_with_gpu_all_workers_share_one_gpu(releases: Path, archive: Path) -> None:
    release = write_release(releases, archive, workers=2, gpu=5)
    with release_server(releases, release) as server:
        assert set(devices(server, 2).values()) == {5}


def test_a_missing_gpu_ends_the_release(releases: Path, archives: dict[str, Path]) -> None:
    release = write_release(releases, archives["pair"], gpu=0)
    with release_server(releases, release, wait=False) as server:
        assert server.process.wait(30) == 3
        text = server.log.read_text()
        assert "mms-release-server: " in text
        assert "USE_CUDA" in text
        assert "Traceback" not in text
