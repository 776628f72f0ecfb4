"""Fixtures of the integration tests: load on every host, and changed archives."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import lab
from tests.integration import changes
from tests.integration.load import Load, Request

Variant = Callable[[changes.Members], None]


@pytest.fixture
def machines() -> list[lab.Machine]:
    """All hosts of the tested group, in the order of the playbooks."""
    return lab.fleet()


@pytest.fixture
def load(
    machines: list[lab.Machine], record_property: Callable[[str, object], None]
) -> Iterator[Load]:
    """Busy and idle clients on all hosts, not started yet. The test's report gets their summary."""
    requests = [Request.of_image(each.address, "digits", lab.SEVEN, "7") for each in machines]
    load = Load(requests)
    yield load
    record_property("load", str(load.report))


@pytest.fixture
def variant(tmp_path: Path) -> Callable[[Variant], list[str]]:
    """Make a changed archive; return the arguments that make a playbook publish it."""

    def make(change: Variant) -> list[str]:
        changes.variant(tmp_path / "digits.model", change)
        shutil.copy(lab.MODELS / "mms.conf", tmp_path)
        return [
            f"--extra-vars=mms_service_archives={tmp_path}",
            f"--extra-vars=mms_service_conf={tmp_path / 'mms.conf'}",
        ]

    return make


def service_file(members: dict[str, bytes]) -> str:
    """Return the name of the archive's service file."""
    name: str = json.loads(members["MANIFEST.json"])["Model"]["Service"]
    return name


@pytest.fixture(scope="session")
def every_step() -> bool:
    """Whether all steps are tested (`make soak`), and not a sample of them."""
    return os.environ.get("MMS_SOAK") == "1"


@pytest.fixture
def last(machines: list[lab.Machine]) -> Iterator[lab.Machine]:
    """One host alone; afterwards it serves the published models again."""
    machine = machines[-1]
    yield machine
    changes.applied(machine, changes.SHARED_CONF)
    lab.on(machine, f"rm -rf {changes.DIRECTORY}")
