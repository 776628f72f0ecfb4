from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mms_server.errors import ArchiveError, ConfError
from tests.unit.roles.modules import load

module: Any = load("mms_service", "mms_conf")

CONF = """[MMS Arguments]
--models
a=/efs/models/a.model b=/srv/b.model
[Nginx Configurations]
server { listen 8080; }
"""
SHARED = Path("/efs/models")


def examine(tmp_path: Path, text: str) -> dict[str, Any]:
    conf = tmp_path / "mms.conf"
    conf.write_text(text)
    result: dict[str, Any] = module.examine(conf, tmp_path, SHARED)
    return result


def test_what_is_not_on_the_controller_is_not_published(tmp_path: Path) -> None:
    result = examine(tmp_path, CONF)
    assert [(m["name"], m["archive"], m["publish"]) for m in result["models"]] == [
        ("a", "", False),
        ("b", "", False),
    ]
    assert result["models"][0]["line"] == 3
    assert "listen 8080" in result["nginx"]


def test_broken_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(b"no archive")
    with pytest.raises(ArchiveError, match="not a ZIP file"):
        examine(tmp_path, CONF)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[Unknown]\n", 1),
        ("[MMS Arguments]\n", 0),
        ("[MMS Arguments]\n--models\na=/x a=/y\n", 3),
        ("--models\n", 1),
        ("[MMS Arguments]\n--models\na=/x\n--log-file\n/srv/a.log\n", 5),
    ],
)
def test_bad_file_names_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(ConfError) as caught:
        examine(tmp_path, text)
    assert caught.value.line == line
    assert caught.value.fix


@pytest.mark.parametrize(
    ("bind", "listen"),
    [
        (None, "unix:/tmp/mms_app.sock"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        (":8000", "*:8000"),
        ("127.0.0.1:8000", "127.0.0.1:8000"),
    ],
)
def test_bind_becomes_a_listen_of_nginx(bind: str | None, listen: str) -> None:
    assert module.nginx_listen(bind) == listen
