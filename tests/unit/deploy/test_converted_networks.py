"""Converted networks: moved into the store from a directory that a model's code can write."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mms_server.archives.content_store import Store
from mms_server.core.paths import Layout
from mms_server.deploy import converted_networks
from mms_server.deploy.apply import apply
from mms_server.deploy.converted_networks import move_to_store
from mms_server.deploy.prune import prune
from mms_server.host import unit_dropin
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.release import Release
from mms_server.inference.backends.converted_network import FILE_NAME
from tests.fixtures.fake_host import FakeHost

RELEASE = Release("a", "0" * 64, 1, "/opt/mms/releases/1", engine="int8")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout.under(tmp_path)
    left(found).parent.mkdir(parents=True)
    return found


@pytest.fixture
def store(layout: Layout) -> Store:
    return Store(layout.store, 1000)


def left(layout: Layout) -> Path:
    return InstanceFiles(layout.instance(RELEASE.id)).conversion


def kept(layout: Layout) -> Path:
    return layout.store / RELEASE.conversion / FILE_NAME


def test_a_converted_network_is_stored_and_replaced(layout: Layout, store: Store) -> None:
    assert not move_to_store(layout, store, RELEASE)
    for content in (b"one", b"two"):
        left(layout).write_bytes(content)
        assert move_to_store(layout, store, RELEASE)
        assert kept(layout).read_bytes() == content
        assert not left(layout).exists()
    assert [path.name for path in layout.store.iterdir()] == [RELEASE.conversion]
    assert kept(layout).stat().st_mode & 0o777 == 0o444


def test_mxnet_makes_no_converted_network(layout: Layout, store: Store) -> None:
    left(layout).write_bytes(b"x")
    assert not move_to_store(layout, store, replace(RELEASE, engine="mxnet"))
    assert not layout.store.exists()


def test_links_pipes_and_too_large_files_are_not_stored(
    layout: Layout, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    left(layout).symlink_to(secret)
    assert not move_to_store(layout, store, RELEASE)
    os.mkfifo(left(layout))
    assert not move_to_store(layout, store, RELEASE)
    monkeypatch.setattr(converted_networks, "MAX_BYTES", 4)
    left(layout).write_bytes(b"12345")
    assert not move_to_store(layout, store, RELEASE)
    assert not list(layout.store.glob("*"))
    assert not left(layout).exists()
    left(layout).write_bytes(b"1234")
    assert move_to_store(layout, store, RELEASE)
    assert secret.read_text() == "secret"


@pytest.mark.parametrize(
    "other",
    [
        {"engine": "onnxruntime"},
        {"archive_sha256": "1" * 64},
        {"golden": "2" * 64},
        {"runtime": "/r"},
    ],
)
def test_its_entry_is_named_by_its_inputs(other: dict[str, str]) -> None:
    assert replace(RELEASE, **other).conversion != RELEASE.conversion
    assert replace(RELEASE, workers=2, model="b").conversion == RELEASE.conversion


def test_a_release_sees_its_own_and_pruning_keeps_it(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"}, "[Model Settings]\na.engine=onnxruntime\n")
    apply(fake.host, conf)
    (name,) = fake.serving()
    release = fake.host.release(name)
    entry = fake.layout.store / release.conversion
    assert f"BindReadOnlyPaths=-{entry}\n" in unit_dropin.render(fake.layout, release)
    with (fake.root / "network").open("w+b") as stream:
        fake.host.store.put(release.conversion, FILE_NAME, stream, 10)
    prune(fake.host)
    assert entry.is_dir()
    apply(fake.host, fake.write_conf({"a": "1"}))
    prune(replace(fake.host, settings=replace(fake.host.settings, keep_generations=1)))
    assert not entry.exists()
