"""Where a location leads, and what is said when it leads nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.archives.fetching.downloader import SOURCES
from mms_server.archives.locator import locate
from mms_server.config.mms_conf import parse
from mms_server.config.model_uri import BUCKETS, REMOTE
from mms_server.core.errors import ConfError


def _locate(tmp_path: Path, location: str, archives: Path | None = None) -> Path | None:
    conf = parse(f"[MMS Arguments]\n--models\nm={location}\n", tmp_path / "mms.conf")
    return locate(conf, conf.models[0], archives).path


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}", "x.model", "./x.model"])
def test_forms_of_a_path(tmp_path: Path, form: str) -> None:
    (tmp_path / "x.model").touch()
    found = _locate(tmp_path, form.format(tmp_path / "x.model"))
    assert found is not None
    assert found.resolve() == tmp_path / "x.model"


@pytest.mark.parametrize("location", ["http://h/x.model", "s3://b/x.model", "HTTPS://h/x?y=z"])
def test_remote_archives_have_no_path(tmp_path: Path, location: str) -> None:
    assert _locate(tmp_path, location) is None


@pytest.mark.parametrize(
    "location", ["/efs/models/x.model", "s3://bucket/x.model", "https://h/a/x.model?v=1", "x.model"]
)
def test_archives_are_looked_in_first(tmp_path: Path, location: str) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    (archives / "x.model").touch()
    assert _locate(tmp_path, location, archives) == archives / "x.model"


@pytest.mark.parametrize(
    ("location", "cause"),
    [
        ("/efs/models/x.model", "archive /efs/models/x.model does not exist"),
        ("http:///x.model", "it has no host"),
        ("https://h/x.model#v2", "#v2 is not sent to a server"),
        ("https://h/a\\b.model", "a backslash"),
        ("https://h:99999/x.model", "it is not a URL"),
        ("s3://b/", "names no object"),
        ("x.model#sha256=abc", "not 64 hexadecimal digits"),
        ("https://h/x.onnx?v=1", "x.onnx is an ONNX file"),
        ("ftp://h/x.model", "not a location that is understood"),
        ("file://other/x.model", "not a location that is understood"),
        ("/x.onnx", "x.onnx is an ONNX file"),
    ],
)
def test_nowhere(tmp_path: Path, location: str, cause: str) -> None:
    with pytest.raises(ConfError, match=cause) as caught:
        _locate(tmp_path, location)
    assert str(caught.value).startswith(f"{tmp_path}/mms.conf:3: ")
    assert caught.value.fix


def test_both_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfError, match=r"does not exist, and .*archives has no x\.model"):
        _locate(tmp_path, "/efs/x.model", tmp_path / "archives")


def test_each_scheme_has_a_source_and_stands_in_the_documents() -> None:
    assert SOURCES.keys() == REMOTE.keys()
    text = (Path(__file__).parents[3] / "docs/archives.md").read_text("utf-8")
    assert not [name for name in REMOTE if f"`{name}://" not in text]
    assert not [name for name in BUCKETS if f"`{name}://bucket/prefix`" not in text]


def test_a_location_that_is_not_understood_is_answered_with_the_forms_that_are(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfError) as caught:
        _locate(tmp_path, "ftp://h/x.model")
    assert caught.value.fix == (
        "give a path, file:///path, http(s)://host/path or s3://bucket/key."
    )
