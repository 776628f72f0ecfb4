"""``mms_app_cpu.conf`` and ``mms_app_gpu.conf`` in their shipped form start a host (section 3.2).

Only the model's address is changed, to one that can be reached.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mms_server.cli import server_cmds
from mms_server.host import generations
from mms_server.host.release import Release
from tests.fixtures.fake_host import FakeHost, write_archive

DATA = Path(__file__).parents[2] / "data"


def start(fake: FakeHost, name: str, gpus: int) -> Release:
    archive = write_archive(fake.root / "efs/squeezenet_v1.1.model", "1")
    conf = fake.root / "efs" / name
    conf.write_text(re.sub(r"=https://\S+", f"=file://{archive}", (DATA / name).read_text()))
    fake.write_frame()
    python = fake.root / "opt/mms/releases/1/bin/python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho {gpus}\n")
    python.chmod(0o755)
    assert server_cmds.control("start", conf, make_host=lambda: fake.host, environ={}) == 0
    generation = generations.newest(fake.layout)
    assert generation is not None
    release = fake.host.release(generation.models["squeezenet"])
    assert release is not None
    return release


@pytest.mark.parametrize("name", ["mms_app_cpu.conf", "mms_app_gpu.conf"])
def test_they_serve(fake: FakeHost, name: str) -> None:
    release = start(fake, name, 0)
    fake.check_settled({"squeezenet": "1"})
    assert release.gunicorn_args == ("--limit-request-line", "0")
    assert not release.on_gpu
    assert release.environment == ({"OMP_NUM_THREADS": "1"} if "cpu" in name else {})
    text = (fake.layout.nginx / "nginx.conf").read_text()
    assert "listen unix:/tmp/mms_app.sock;" in text
    assert "server {\n    listen       8080;\n    location / {\n" in text
    assert "        proxy_pass http://unix:/tmp/mms_app.sock;\n" in text


def test_all_gpus_are_used_in_turn(fake: FakeHost) -> None:
    release = start(fake, "mms_app_gpu.conf", 4)
    assert (release.gpu, release.num_gpu, release.workers) == (None, 4, 1)


def test_the_cpu_file_uses_no_gpu(fake: FakeHost) -> None:
    assert not start(fake, "mms_app_cpu.conf", 4).on_gpu


def test_too_few_gpus_name_the_line(fake: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    start(fake, "mms_app_gpu.conf", 1)
    conf = fake.root / "efs/mms_app_gpu.conf"
    conf.write_text(conf.read_text().replace("--num-gpu\noptional", "--num-gpu\n2"))
    assert server_cmds.control("restart", conf, make_host=lambda: fake.host, environ={}) == 1
    line = conf.read_text().splitlines().index("--num-gpu") + 2
    assert f"{conf}:{line}: --num-gpu 2: the number of GPUs here is 1" in capsys.readouterr().err
    fake.check_settled({"squeezenet": "1"})


def test_an_engine_for_the_cpu_is_refused_on_gpus(
    fake: FakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    start(fake, "mms_app_gpu.conf", 1)
    conf = fake.root / "efs/mms_app_gpu.conf"
    conf.write_text(f"{conf.read_text()}\n[Model Settings]\nsqueezenet.engine=onnxruntime\n")
    assert server_cmds.control("restart", conf, make_host=lambda: fake.host, environ={}) == 1
    said = capsys.readouterr().err
    assert "engine=onnxruntime computes on the CPU, but the model gets a GPU" in said
    fake.check_settled({"squeezenet": "1"})
