from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import load

wheelhouse: Any = load("mms_runtime", "mms_wheelhouse")

WHEELS = ("pip-26.3-py3-none-any.whl", "zope_event-6.2-py3-none-any.whl")
OWN = "mms_hosts-0.1.0-py3-none-any.whl"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "mms_server").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "mms_server" / "__init__.py").write_text("__version__ = '0.1.0'\n")
    (root / "runtime.txt").write_text("pip==26.3\n")
    return root


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for pip and hatchling: write the wheels that they would."""
    ran: list[list[str]] = []

    def run_step(command: list[str], cwd: Path, timeout_s: int, fix: str) -> None:
        ran.append(command)
        option = next(word for word in command if word.startswith(("--dest=", "--directory=")))
        target = Path(option.partition("=")[2])
        target.mkdir(exist_ok=True)
        for name in WHEELS if option.startswith("--dest=") else (OWN,):
            (target / name).write_bytes(name.encode())

    monkeypatch.setattr(wheelhouse, "run_step", run_step)
    return ran


def ensure(project: Path, destination: Path) -> tuple[bool, dict[str, str]]:
    result: tuple[bool, dict[str, str]] = wheelhouse.ensure(
        project, project / "runtime.txt", destination, 60
    )
    return result


def test_archive_holds_wheels_requirements_and_sums(
    project: Path, tmp_path: Path, steps: list[list[str]]
) -> None:
    changed, result = ensure(project, tmp_path / "out")
    assert changed
    with tarfile.open(result["archive"]) as tar:
        names = tar.getnames()
        sums = tar.extractfile("SHA256SUMS")
        assert sums is not None
        text = sums.read().decode()
    assert sorted(names) == sorted([*WHEELS, OWN, "requirements.txt", "SHA256SUMS"])
    assert f"{hashlib.sha256(OWN.encode()).hexdigest()}  {OWN}\n" in text
    assert result["version"] == f"0.1.0-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    assert result["pip"] == WHEELS[0]


def test_same_inputs_build_nothing(project: Path, tmp_path: Path, steps: list[list[str]]) -> None:
    _, first = ensure(project, tmp_path / "out")
    steps.clear()
    assert ensure(project, tmp_path / "out") == (False, first)
    assert steps == []


def test_same_inputs_elsewhere_give_the_same_bytes(
    project: Path, tmp_path: Path, steps: list[list[str]]
) -> None:
    _, one = ensure(project, tmp_path / "one")
    _, two = ensure(project, tmp_path / "two")
    assert one["version"] == two["version"]
    assert Path(one["archive"]).read_bytes() == Path(two["archive"]).read_bytes()


def test_changed_source_builds_again_without_downloading(
    project: Path, tmp_path: Path, steps: list[list[str]]
) -> None:
    ensure(project, tmp_path / "out")
    steps.clear()
    (project / "mms_server" / "new.py").write_text("")
    changed, _ = ensure(project, tmp_path / "out")
    assert changed
    assert ["hatchling" in command for command in steps] == [True]


def test_damaged_archive_is_built_again(
    project: Path, tmp_path: Path, steps: list[list[str]]
) -> None:
    _, result = ensure(project, tmp_path / "out")
    Path(result["archive"]).write_bytes(b"cut off")
    assert ensure(project, tmp_path / "out")[0]


def test_old_builds_are_removed(project: Path, tmp_path: Path, steps: list[list[str]]) -> None:
    ensure(project, tmp_path / "out")
    (tmp_path / "out" / "0.0.9-00000000.tar").write_bytes(b"")
    (project / "runtime.txt").write_text("pip==26.3 --hash=sha256:00\n")
    _, result = ensure(project, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == [
        Path(result["archive"]).name
    ]
    assert len(list((tmp_path / "out").glob("downloads-*"))) == 1


def test_caches_are_not_inputs(project: Path) -> None:
    requirements = project / "runtime.txt"
    before = wheelhouse.inputs_digest(project, requirements)
    (project / "mms_server" / "__pycache__").mkdir()
    (project / "mms_server" / "__pycache__" / "a.pyc").write_bytes(b"x")
    assert wheelhouse.inputs_digest(project, requirements) == before


def test_missing_requirements_name_the_fix(project: Path, tmp_path: Path) -> None:
    (project / "runtime.txt").unlink()
    with pytest.raises(wheelhouse.WheelhouseError, match=r"runtime\.txt is missing\. Fix: "):
        ensure(project, tmp_path / "out")


def test_failed_step_shows_its_last_lines(tmp_path: Path) -> None:
    command = ["python3", "-c", "print('no such version'); raise SystemExit(3)"]
    with pytest.raises(wheelhouse.WheelhouseError, match=r"ended with 3: no such version Fix: x"):
        wheelhouse.run_step(command, tmp_path, 20, "x")


def test_slow_step_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(wheelhouse.WheelhouseError, match="took more than 1 s"):
        wheelhouse.run_step(["sleep", "20"], tmp_path, 1, "x")


def test_file_that_is_no_wheel_is_named() -> None:
    with pytest.raises(wheelhouse.WheelhouseError, match=r"a\.zip is not the name of a wheel"):
        wheelhouse.wheel_name(Path("a.zip"))
