"""Load from outside on every host, and changed archives to serve."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import lab
from tests.situations.load import Load, Request

Variant = Callable[[dict[str, bytes]], None]


@pytest.fixture
def machines() -> list[lab.Machine]:
    """All hosts of the tested group, in the order in which playbooks take them."""
    return lab.fleet()


@pytest.fixture
def load(
    machines: list[lab.Machine], record_property: Callable[[str, object], None]
) -> Iterator[Load]:
    """Busy and idle clients on all hosts; not started yet. The sum goes into the test's report."""
    requests = [Request.of_image(each.address, "digits", lab.SEVEN, "7") for each in machines]
    load = Load(requests)
    yield load
    record_property("load", str(load.report))


@pytest.fixture
def variant(tmp_path: Path) -> Callable[[Variant], list[str]]:
    """Make a changed archive; return the arguments that make a playbook publish it."""

    def make(change: Variant) -> list[str]:
        source = lab.MODELS / "digits.model"
        with zipfile.ZipFile(source) as old:
            members = {name: old.read(name) for name in old.namelist()}
        change(members)
        with zipfile.ZipFile(tmp_path / "digits.model", "w") as new:
            for name, content in members.items():
                new.writestr(name, content)
        shutil.copy(lab.MODELS / "mms.conf", tmp_path)
        return [
            f"--extra-vars=mms_service_archives={tmp_path}",
            f"--extra-vars=mms_service_conf={tmp_path / 'mms.conf'}",
        ]

    return make


@pytest.fixture
def as_before() -> Iterator[None]:
    """Publish and serve the original archive again, whatever the test did."""
    yield
    done = lab.playbook("playbooks/update_models.yml")
    assert done.returncode == 0, done.stdout


def service_file(members: dict[str, bytes]) -> str:
    """Return the name of the archive's service file."""
    name: str = json.loads(members["MANIFEST.json"])["Model"]["Service"]
    return name
