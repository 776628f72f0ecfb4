from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from mms_server.archives import golden_samples
from mms_server.config import mms_conf
from mms_server.core.errors import ConfError, MMSError
from tests.fixtures.fake_host import write_archive
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
    file = tmp_path / "mms.conf"
    file.write_text(text)
    result: dict[str, Any] = module.examine(file, tmp_path, SHARED)
    return result


def test_what_is_not_on_the_controller_is_not_published(tmp_path: Path) -> None:
    result = examine(tmp_path, CONF)
    assert [(m["name"], m["archive"], m["publish"]) for m in result["models"]] == [
        ("a", "", False),
        ("b", "", False),
    ]
    assert result["models"][0]["line"] == 3


def test_broken_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(b"no archive")
    with pytest.raises(ConfError, match="not a ZIP file") as caught:
        examine(tmp_path, CONF)
    assert caught.value.line == 3


def test_samples_beside_an_archive_are_published_with_it(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.model", "1")
    (model, _other) = examine(tmp_path, CONF)["models"]
    assert (model["publish"], model["samples"]) == (True, "")
    beside = tmp_path / "a.model.golden"
    beside.mkdir()
    with pytest.raises(ConfError, match="holds no golden samples") as caught:
        examine(tmp_path, CONF)
    assert caught.value.line == 3
    for name, content in golden_samples.encode([golden_samples.Sample(([1],), [2])]).items():
        (beside / name).write_bytes(content)
    (model, _other) = examine(tmp_path, CONF)["models"]
    assert model["samples"] == str(beside)


def test_contents_go_by_their_digests_each_once(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.model", "1")
    text = "[MMS Arguments]\n--models\na=/efs/models/a.model b=sub/a.model c=/srv/a.model\n"
    result = examine(tmp_path, text)
    digest = hashlib.sha256((tmp_path / "a.model").read_bytes()).hexdigest()
    assert result["contents"] == [
        {
            "source": str(tmp_path / "a.model"),
            "sha256": digest,
            "directory": False,
            "label": "archive of b",
        }
    ]
    # No samples here: there shall be none beside the archive either.
    assert result["places"] == {
        "a.model": digest,
        "a.model.golden": "",
        "sub/a.model": digest,
        "sub/a.model.golden": "",
    }
    assert result["sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_an_mms_conf_is_made_of_variables(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.model", "1")
    models = {
        "a": "/efs/models/a.model",
        "b": {"location": "s3://b/k", "settings": {"keep_warm_s": 9}},
    }
    result = module.examine(Path(), tmp_path, SHARED, models, "[Gunicorn Arguments]\n--workers\n2")
    assert [row["name"] for row in result["models"]] == ["a", "b"]
    parsed = mms_conf.parse(result["text"], Path("x"))
    assert parsed.workers == 2
    assert parsed.model_settings["b"].keep_warm_s == 9


@pytest.mark.parametrize(
    ("models", "rest", "cause"),
    [
        ({"a": 1}, "", "model a: its location is missing, not a string, or has a blank"),
        ({"a": "x y"}, "", "model a: its location is missing, not a string, or has a blank"),
        ({"a": {"path": "x"}}, "", "model a: path is not a key of a model"),
        ({"a": {"location": "x", "settings": 1}}, "", "model a: its settings are not a mapping"),
        ({"a": "x"}, "[MMS Arguments]\n--models\nb=y", "--models is in mms_service_rest"),
        ({"a=b": "x"}, "", "mms_service_models"),
        ({"a": {"location": "x", "settings": {"n": 1}}}, "", "n is not a setting of a model"),
    ],
)
def test_variables_that_are_wrong_are_named(
    tmp_path: Path, models: dict[str, Any], rest: str, cause: str
) -> None:
    with pytest.raises(MMSError) as caught:
        module.examine(Path(), tmp_path, SHARED, models, rest)
    assert cause in str(caught.value)
    assert caught.value.fix


def test_remote_locations_are_left_to_the_hosts_and_shown_without_secrets(tmp_path: Path) -> None:
    location = "https://user:word@h/a/c.model?signature=x"
    result = examine(tmp_path, f"[MMS Arguments]\n--models\nc={location}\n")
    (model,) = result["models"]
    assert (model["remote"], model["publish"]) == (True, False)
    assert model["location"] == "https://h/a/c.model"


def test_a_malformed_pin_is_found_before_any_host_is_touched(tmp_path: Path) -> None:
    with pytest.raises(ConfError, match="64 hexadecimal digits") as caught:
        examine(tmp_path, "[MMS Arguments]\n--models\nc=s3://b/c.model#sha256=12\n")
    assert caught.value.line == 3


def test_a_log_file_that_is_moved_is_noted(tmp_path: Path) -> None:
    text = "[MMS Arguments]\n--models\na=/x\n--log-file\n/srv/a.log\n"
    assert "it is /var/log/mms/a.log" in examine(tmp_path, text)["notes"][0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[Unknown]\n", 1),
        ("[MMS Arguments]\n", 0),
        ("[MMS Arguments]\n--models\na=/x a=/y\n", 3),
        ("--models\n", 1),
    ],
)
def test_bad_file_names_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(ConfError) as caught:
        examine(tmp_path, text)
    assert caught.value.line == line
    assert caught.value.fix
