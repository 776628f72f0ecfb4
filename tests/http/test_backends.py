"""Tests of release servers on other backends than MXNet, with workers forked after conversion."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mms_server.archives import golden_samples
from mms_server.archives.content_store import Store
from mms_server.archives.golden_samples import Sample
from mms_server.config import backend_names
from mms_server.core.paths import Layout
from mms_server.deploy import converted_networks
from mms_server.host import start_failure
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.process_liveness import live_slots
from mms_server.host.release import Release
from mms_server.inference.model_loader import load_model
from tests.fixtures import models
from tests.fixtures.servers import Server, release_server, write_release

COLORS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "green": (0, 255, 0),
    "red": (255, 0, 0),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}
CLIENTS = 8
CACHED = "the converted network was read from the store"


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The path of a socket must be short.
    return tmp_path_factory.mktemp("e")


def release_of(root: Path, archive: Path, engine: str, tolerance: float | None = None) -> Release:
    """Write a release with two workers, and a golden sample of each color."""
    release = write_release(
        root,
        archive,
        workers=2,
        engine=engine,
        engine_tolerance=backend_names.TOLERANCES[engine] if tolerance is None else tolerance,
    )
    entry = root / "var/lib/mms/store" / release.archive_sha256
    service = load_model("colors", entry).service
    inputs = [Sample((models.picture(rgb),)) for rgb in COLORS.values()]
    samples = [
        dataclasses.replace(one, expected=golden_samples.answer_of(service, one)) for one in inputs
    ]
    for name, content in golden_samples.encode(samples).items():
        (entry / name).write_bytes(content)
    return release


def color(server: Server, name: str) -> str:
    field = ("x.jpg", "image/jpeg", models.picture(COLORS[name]))
    answer = server.predict("colors", {"data": field})
    assert answer.status == 200, answer.body
    return str(answer.json["prediction"][0][0]["class"])


@pytest.mark.parametrize("engine", [backend_names.INT8, backend_names.ONNXRUNTIME])
def test_all_workers_answer_correctly(archives: dict[str, Path], root: Path, engine: str) -> None:
    release = release_of(root, archives["colors"], engine)
    with release_server(root, release) as server, ThreadPoolExecutor(CLIENTS) as clients:
        names = [*COLORS] * 20
        assert list(clients.map(lambda name: color(server, name), names)) == names
        # The master and both workers are alive.
        assert len(live_slots(Layout.under(root).alive_file(release.id))) == 3
        assert f"colors is computed by {engine}: a forward takes" in server.log.read_text()
        assert CACHED not in server.log.read_text()
    layout = Layout.under(root)
    assert converted_networks.move_to_store(layout, Store(layout.store, 0), release)
    with release_server(root, release) as server:
        assert [color(server, name) for name in COLORS] == [*COLORS]
        assert CACHED in server.log.read_text()
    assert not InstanceFiles(layout.instance(release.id)).conversion.exists()


def test_a_release_over_the_tolerance_does_not_start(archives: dict[str, Path], root: Path) -> None:
    release = release_of(root, archives["colors"], backend_names.INT8, 1e-9)
    with release_server(root, release, wait=False) as server:
        assert server.process.wait(60) != 0
    found = start_failure.find_last(server.log.read_text())
    assert found is not None
    assert found.step == "engine"
    assert found.cause.startswith("model colors on int8 differs from MXNet by more than 1e-09: ")
    assert "engine_tolerance" in found.fix
