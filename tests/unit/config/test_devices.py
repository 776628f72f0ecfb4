"""Which GPU a worker takes, and what is said where there is none (compatibility.md, 13)."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mms_server.config import devices, mms_conf
from mms_server.core.errors import ConfError, MMSError
from mms_server.host.release import Release
from mms_server.host.worker_slots import WorkerSlots
from mms_server.server import release_launcher

PYTHON = Path("/opt/runtime/bin/python")
RELEASE = Release("digits", "ab" * 32, 3, "/opt/runtime")


class Machine:
    """A machine with so many GPUs; knows whether it was asked."""

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus
        self.asked: list[Mapping[str, str]] = []

    def __call__(self, python: Path, environment: Mapping[str, str]) -> int:
        assert python == PYTHON
        self.asked.append(environment)
        return self.gpus


def choose(flags: str, gpus: int) -> devices.Devices:
    text = f"[MMS Arguments]\n--models\nm=/a\n{flags}"
    return devices.choose(mms_conf.parse(text, Path("mms.conf")), PYTHON, Machine(gpus))


@pytest.mark.parametrize(
    ("flags", "gpus", "gpu", "num_gpu"),
    [
        ("", 4, None, 0),
        ("--gpu\noptional\n", 4, None, 0),
        ("--gpu\n0\n", 1, 0, 0),
        ("--gpu\n3\n", 4, 3, 0),
        ("--num-gpu\n4\n", 4, None, 4),
        ("--num-gpu\n1\n", 4, None, 1),
        ("--num-gpu\noptional\n", 4, None, 4),
        ("--gpu\n1\n--num-gpu\n4\n", 2, 1, 0),
        ("--gpu\n1\n--num-gpu\noptional\n", 2, 1, 0),
    ],
)
def test_what_is_chosen(flags: str, gpus: int, gpu: int | None, num_gpu: int) -> None:
    assert choose(flags, gpus) == devices.Devices(gpu, num_gpu)


@pytest.mark.parametrize(
    ("flags", "gpus", "cause", "fix"),
    [
        ("--gpu\n0\n", 0, "--gpu 0: there is no GPU here", "install the GPU runtime"),
        ("--gpu\n4\n", 4, "--gpu 4: the number of GPUs here is 4", "use 0 to 3."),
        ("--num-gpu\n1\n", 0, "--num-gpu 1: there is no GPU here", "install the GPU runtime"),
        ("--num-gpu\n5\n", 4, "--num-gpu 5: the number of GPUs here is 4", "use 1 to 4"),
    ],
)
def test_too_few_gpus_name_the_line(flags: str, gpus: int, cause: str, fix: str) -> None:
    with pytest.raises(ConfError) as caught:
        choose(flags, gpus)
    assert caught.value.line == 5
    assert cause in caught.value.cause
    assert fix in caught.value.fix


def test_optional_without_a_gpu_is_the_cpu() -> None:
    chosen = choose("--num-gpu\noptional\n", 0)
    assert (chosen.gpu, chosen.num_gpu) == (None, 0)
    assert "models run on the CPU" in chosen.warnings[0]


def test_gpus_are_counted_only_when_they_are_wanted_and_as_the_model_sees_them() -> None:
    machine = Machine(1)
    text = "[MMS Arguments]\n--models\nm=/a\n"
    devices.choose(mms_conf.parse(text, Path("mms.conf")), PYTHON, machine)
    assert machine.asked == []
    text += "--gpu\n0\n[MXNet Environment Variables]\nLD_LIBRARY_PATH=/usr/local/cuda/lib64\n"
    devices.choose(mms_conf.parse(text, Path("mms.conf")), PYTHON, machine)
    assert machine.asked == [{"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}]


def test_workers_take_gpus_in_turn_and_a_new_one_takes_the_dead_ones() -> None:
    slots = WorkerSlots()

    def device(name: int) -> int | None:
        return devices.device_of(slots.take(name), gpu=None, num_gpu=2)

    assert [device(name) for name in (1, 2, 3, 4)] == [0, 1, 0, 1]
    slots.free(2)
    assert device(5) == 1
    assert devices.device_of(7, gpu=3, num_gpu=0) == 3
    assert devices.device_of(7, gpu=None, num_gpu=0) is None


@pytest.mark.parametrize("change", [{"gpu": 0}, {"num_gpu": 2}])
def test_a_master_of_gpu_workers_does_not_load_the_model(change: dict[str, int]) -> None:
    assert "--preload" in release_launcher.gunicorn_command(RELEASE)
    on_gpu = dataclasses.replace(RELEASE, **change)  # type: ignore[arg-type]
    assert on_gpu.on_gpu
    assert "--preload" not in release_launcher.gunicorn_command(on_gpu)
    assert on_gpu.id != RELEASE.id


def test_an_engine_without_cuda_counts_none() -> None:
    assert devices.count_gpus(Path(sys.executable), {}) == 0


def test_a_count_that_fails(tmp_path: Path) -> None:
    python = tmp_path / "python"
    with pytest.raises(MMSError, match=r"counted: .*No such file"):
        devices.count_gpus(python, {})
    python.write_text("#!/bin/sh\necho 'CUDA: initialization error' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(MMSError, match="counted: CUDA: initialization error"):
        devices.count_gpus(python, {})


def test_a_count_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_COUNT_TIMEOUT_S", 0.1)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 5\n")
    python.chmod(0o755)
    with pytest.raises(MMSError, match="not counted within"):
        devices.count_gpus(python, {})
