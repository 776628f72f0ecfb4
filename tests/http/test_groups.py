"""Tests of groups: one release server for several models, each answers as it would alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mms_server.core.paths import Layout
from mms_server.host import start_failure
from mms_server.host.release import Part, Release
from tests.fixtures.servers import (
    Server,
    control_server,
    release_server,
    write_generation,
    write_group,
)


@pytest.fixture(scope="module")
def group(archives: dict[str, Path], releases: Path) -> Release:
    return write_group(
        releases,
        "small",
        {
            "first": archives["scripted"],
            "second": archives["scripted"],
            "colors": archives["colors"],
        },
        predict_timeout_s=2.0,
    )


@pytest.fixture(scope="module")
def small(releases: Path, group: Release) -> Iterator[Server]:
    with release_server(releases, group) as server:
        yield server


def order(server: Server, model: str, number: float) -> int:
    return server.predict(model, {"order": f"[[{number}]]".encode()}).status


def test_each_model_answers_under_its_name(small: Server) -> None:
    assert order(small, "first", 0) == order(small, "second", 0) == 200
    assert small.request("GET", "/colors/ping").status == 200
    assert small.request("GET", "/small/ping").status == 404


def test_all_models_run_in_the_same_processes(small: Server) -> None:
    seen = {
        small.predict(model, {"order": b"[[0]]"}).json["prediction"]["pid"]
        for model in ("first", "second")
    }
    assert seen == set(small.workers())


def test_an_error_of_one_model_does_not_affect_another(small: Server) -> None:
    assert order(small, "first", -3) == 500
    assert order(small, "second", 0) == 200


def test_the_host_lists_each_model(releases: Path, small: Server, group: Release) -> None:
    write_generation(releases, group)
    with control_server(releases):
        control = Server(Layout.under(releases).run / "control.sock", small.process, small.log)
        listed = control.request("GET", "/models").json
        metrics = control.request("GET", "/metrics").body.decode()
    assert "first" in str(listed)
    for model in group.parts:
        assert f"'{model}'" in str(listed)
        assert f'mms_predictions_total{{code="200",model="{model}"}}' in metrics


def test_a_failed_start_names_the_model_that_does_not_load(
    archives: dict[str, Path], releases: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.model"
    broken.write_bytes(archives["scripted"].read_bytes())
    release = write_group(releases, "half", {"good": archives["scripted"], "bad": broken})
    layout = Layout.under(releases)
    digest = release.parts["bad"].archive_sha256
    assert release.parts["good"] == Part(digest), "equal archives share an entry of the store"
    lost = write_group(releases, "lost", {"good": archives["scripted"], "bad": archives["colors"]})
    entry = layout.store / lost.parts["bad"].archive_sha256
    hidden = entry.rename(entry.with_name("hidden"))
    try:
        with release_server(releases, lost, wait=False) as server:
            assert server.process.wait(60)
            failure = start_failure.find_last(server.log.read_text())
    finally:
        hidden.rename(entry)
    assert failure is not None
    assert entry.name in failure.cause
