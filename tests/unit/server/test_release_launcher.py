"""The launcher of a release: the command line and the environment that it makes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mms_server.core.errors import MMSError
from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout
from mms_server.host.release import Release
from mms_server.server import release_launcher

RELEASE = Release(
    model="digits",
    archive_sha256="ab" * 32,
    workers=3,
    runtime="/opt/runtime",
    environment={"OMP_NUM_THREADS": "2", "LISTEN_PID": "1", "MXNET_X": "1"},
    gunicorn_args=("--timeout", "300"),
)


def test_the_releases_own_arguments_win() -> None:
    line = release_launcher.gunicorn_command(RELEASE)
    assert line[:3] == ["/opt/runtime/bin/python", "-m", "mms_server.server.process_exit"]
    assert line[-3:] == ["--timeout", "300", "mms_server.server.application:application"]
    assert "--workers=3" in line
    assert line.index("--timeout=30") < line.index("--timeout")


def test_the_environment_is_an_allow_list() -> None:
    ours = {"PATH": "/bin", "LISTEN_PID": "7", "LISTEN_FDS": "1", "AWS_SECRET": "x", "HOME": "/"}
    assert release_launcher.environment(RELEASE, ours, None) == {
        "PATH": "/bin",
        "LISTEN_PID": "7",
        "LISTEN_FDS": "1",
        "MXNET_X": "1",
        "OMP_NUM_THREADS": "2",
        "MMS_RELEASE_ID": RELEASE.id,
    }
    plain = dataclasses.replace(RELEASE, environment={})
    found = release_launcher.environment(plain, {}, Path("/root-of-test"))
    assert found["OMP_NUM_THREADS"] == "1"
    assert release_launcher.layout_of(found) == Layout.under(Path("/root-of-test"))
    assert release_launcher.layout_of({}) == Layout()


def test_the_release_must_be_the_one_that_was_named(tmp_path: Path) -> None:
    layout = Layout.under(tmp_path)
    with pytest.raises(MMSError, match="cannot be read"):
        release_launcher.read_release(layout, RELEASE.id)
    write_atomically(layout.release_file(RELEASE.id), RELEASE.to_json())
    assert release_launcher.read_release(layout, RELEASE.id) == RELEASE
    write_atomically(layout.release_file("digits.00000000"), RELEASE.to_json())
    with pytest.raises(MMSError, match=r"describes digits\.[0-9a-f]{8}, not digits\.00000000"):
        release_launcher.read_release(layout, "digits.00000000")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "6"},
        {"LISTEN_FDS": "2", "LISTEN_PID": "7"},
    ],
)
def test_it_needs_the_one_socket(environ: dict[str, str]) -> None:
    with pytest.raises(MMSError, match="no listening socket"):
        release_launcher.check_socket(environ, 7)
    release_launcher.check_socket({"LISTEN_FDS": "1", "LISTEN_PID": "7"}, 7)


def written(root: Path, text: str) -> Layout:
    layout = Layout.under(root)
    write_atomically(layout.release_file("digits.0"), text)
    return layout


def test_the_runtime_of_a_release_of_any_version_is_read(tmp_path: Path) -> None:
    layout = written(tmp_path, '{"runtime": "/opt/mms/releases/x", "what comes later": 1}')
    assert release_launcher.runtime_of(layout, "digits.0") == Path("/opt/mms/releases/x")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"runtime": 1}'])
def test_a_release_without_a_runtime_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MMSError, match="names no runtime"):
        release_launcher.runtime_of(written(tmp_path, text), "digits.0")


def test_the_runtime_of_the_release_starts_it(tmp_path: Path) -> None:
    own, other, old = (tmp_path / name for name in ("own", "other", "old"))
    for runtime in (own, other, old):
        (runtime / "bin").mkdir(parents=True)
    (other / "bin/mms-release-server").touch()
    current = tmp_path / "current"
    current.symlink_to(own)
    root = Path("/x")
    assert release_launcher.other_launcher(own, "m.1", None, current) == []
    assert release_launcher.other_launcher(other, "m.1", root, current) == [
        f"{other}/bin/mms-release-server", "m.1", "--layout-root", "/x"
    ]  # fmt: skip
    assert release_launcher.other_launcher(old, "m.1", None, current) == [
        f"{old}/bin/python", "-m", "mms_server.worker", "m.1"
    ]  # fmt: skip
