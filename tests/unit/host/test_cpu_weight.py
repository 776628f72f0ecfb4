"""The CPU weight of a release while it loads, and afterwards."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mms_server.core.errors import SupervisorError
from mms_server.host.cpu_weight import CpuWeights, weight_in_files

UNIT = "mms@m.1.service"
FILES = """\
# /etc/systemd/system/mms@.service
[Service]
# CPUWeight=3 would be too little.
CPUWeight=70
"""


class Systemctl:
    """Records its calls; ``files`` is the text of the unit's files."""

    def __init__(self, properties: Path, files: str = FILES) -> None:
        self.properties = properties
        self.files = files
        self.asked: list[str] = []
        self.broken = False

    def __call__(self, unit: str, *words: str) -> str:
        assert unit == UNIT
        self.asked.append(" ".join(words).replace(f"--runtime {UNIT} ", ""))
        if self.broken:
            raise SupervisorError(unit, "no answer")
        if words[0] == "set-property":
            (self.properties / f"{UNIT}.d").mkdir(exist_ok=True)
        return self.files if words[0] == "cat" else ""


@pytest.fixture
def systemctl(tmp_path: Path) -> Systemctl:
    return Systemctl(tmp_path)


def test_a_release_loads_at_idle_weight_and_serves_with_the_weight_of_its_unit(
    systemctl: Systemctl, tmp_path: Path
) -> None:
    weights = CpuWeights(systemctl, tmp_path)
    with weights.lowered(UNIT, 300):
        assert systemctl.asked == ["set-property CPUWeight=idle"]
    weights.restore(UNIT)
    assert systemctl.asked[1:] == [f"cat {UNIT}", "set-property CPUWeight=70"]


def test_on_a_host_that_is_never_idle_the_weight_is_raised(
    systemctl: Systemctl, tmp_path: Path
) -> None:
    with CpuWeights(systemctl, tmp_path).lowered(UNIT, 0.2):
        deadline = time.monotonic() + 10
        while len(systemctl.asked) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert systemctl.asked == ["set-property CPUWeight=idle", "set-property CPUWeight=10"]


def test_nothing_is_set_after_the_start(systemctl: Systemctl, tmp_path: Path) -> None:
    with CpuWeights(systemctl, tmp_path).lowered(UNIT, 0.4):
        pass
    time.sleep(0.3)
    assert systemctl.asked == ["set-property CPUWeight=idle"]


def test_an_error_of_systemd_during_the_load_is_left_to_the_start(
    systemctl: Systemctl, tmp_path: Path
) -> None:
    with CpuWeights(systemctl, tmp_path).lowered(UNIT, 0.2):
        systemctl.broken = True
        time.sleep(0.3)
    assert len(systemctl.asked) == 2


def test_a_weight_that_was_not_set_is_not_restored(systemctl: Systemctl, tmp_path: Path) -> None:
    weights = CpuWeights(systemctl, tmp_path)
    weights.restore(UNIT)
    weights.forget(UNIT)
    assert systemctl.asked == []
    (tmp_path / f"{UNIT}.d").mkdir()
    weights.forget(UNIT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "weight"),
    [
        ("", "70"),
        ("# {d}/50-CPUWeight.conf\n[Service]\nCPUWeight=idle\n", "70"),
        ("# /etc/systemd/system/mms@m.1.service.d/release.conf\n[Service]\nCPUWeight=20\n", "20"),
        ("# /etc/systemd/system/mms@m.1.service.d/admin.conf\n[Service]\nCPUWeight=\n", "100"),
        ("# {d}/50-CPUWeight.conf\nCPUWeight=5\n\n# /etc/z.conf\nCPUWeight=8\n", "8"),
    ],
)
def test_the_weight_in_the_files_of_a_unit(more: str, weight: str, tmp_path: Path) -> None:
    assert weight_in_files(FILES + "\n" + more.replace("{d}", str(tmp_path)), tmp_path) == weight
