"""Reading 1.x archives: their layout, their manifest, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mms_server.archives.extract import check, unpack
from mms_server.core.errors import ArchiveError, ServiceError
from mms_server.inference.model_loader import load_model
from mms_server.inference.raw_request import RawRequest
from tests.fixtures import mars


def unpacked(tmp_path: Path, handler: str, files: dict[str, str | bytes]) -> Path:
    target = tmp_path / "unpacked"
    unpack(mars.write(tmp_path / "m.mar", handler, files), target)
    return target


def test_directories_are_kept(tmp_path: Path) -> None:
    unpack(mars.mirror(tmp_path), tmp_path / "unpacked")
    assert (tmp_path / "unpacked/words/greeting.py").is_file()
    manifest, signature = check(tmp_path / "unpacked")
    assert (manifest.model_name, manifest.service) == ("mirror", "mirror.py")
    assert (manifest.function, signature) == ("handle", None)


@pytest.mark.parametrize(
    ("handler", "file"),
    [
        ("a.py:f", "a.py"),
        ("a:f", "a.py"),
        ("pkg.a:f", "pkg/a.py"),
        ("pkg/a.py:f", "pkg/a.py"),
        ("a", "a.py"),
    ],
)
def test_names_of_handlers(tmp_path: Path, handler: str, file: str) -> None:
    assert check(unpacked(tmp_path, handler, {file: ""}))[0].service == file


@pytest.mark.parametrize(
    ("handler", "cause"),
    [
        ("b:f", "the handler b is named"),
        ("../a:f", "is not file:function"),
        ("/etc/a.py:f", "is not file:function"),
        ("a:f()", "is not file:function"),
        ("a:f:g", "is not file:function"),
        ("", "model.handler"),
        ("a/../a.py:f", "is not file:function"),
    ],
)
def test_handlers_that_are_none(tmp_path: Path, handler: str, cause: str) -> None:
    target = unpacked(tmp_path, handler, {"a.py": ""})
    with pytest.raises(ArchiveError, match=cause) as caught:
        check(target)
    assert caught.value.fix


@pytest.mark.parametrize("text", ["[]", "{}", '{"model": []}', '{"model": {"modelName": 1}}', "{"])
def test_manifests_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "MAR-INF").mkdir()
    (tmp_path / "MAR-INF/MANIFEST.json").write_text(text)
    with pytest.raises(ArchiveError):
        check(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["../x"],
        ["a/../../x"],
        ["/x"],
        ["a//x"],
        ["a/./x"],
        ["a/" * 33 + "x"],
        ["a\\x"],
        ["A/x", "a/X"],
        ["a", "a/x"],
        ["a/x", "a"],
        ["MAR-INF/manifest.JSON"],
    ],
)
def test_nothing_is_written_for_unsafe_names(tmp_path: Path, names: list[str]) -> None:
    archive = mars.write(tmp_path / "m.mar", "a:f", dict.fromkeys(names, "x"))
    with pytest.raises(ArchiveError):
        unpack(archive, tmp_path / "in/unpacked")
    assert not (tmp_path / "in").exists() or not list((tmp_path / "in").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) in (["in", "m.mar"], ["m.mar"])


def test_depth_just_under_the_limit(tmp_path: Path) -> None:
    name = "a/" * 31 + "x"
    assert (unpacked(tmp_path, "a:f", {name: "x"}) / name).is_file()


def test_a_link_is_refused(tmp_path: Path) -> None:
    archive = mars.write(tmp_path / "m.mar", "a:f", {"a.py": ""})
    with zipfile.ZipFile(archive, "a") as opened:
        link = zipfile.ZipInfo("dir")
        link.external_attr = 0o120777 << 16
        opened.writestr(link, "/etc")
        opened.writestr("dir/passwd", "x")
    with pytest.raises(ArchiveError, match="is a link"):
        unpack(archive, tmp_path / "unpacked")


@pytest.mark.parametrize(
    ("handler", "source", "cause"),
    [
        ("a:f", "g = 1", "has no function f"),
        ("a:f", "f = 1", "has no function f"),
        ("a:f", "import nothing_of_this_name", "cannot be imported"),
        ("a:f", "def f(data, context):\n    raise SystemExit(3)", "does not load model m"),
        ("a", "x = 1", "one class with a method handle; it has: none"),
        ("a", "class A:\n  def handle(s): pass\nclass B(A): pass", "it has: A, B"),
    ],
)
def test_handlers_that_do_not_load(tmp_path: Path, handler: str, source: str, cause: str) -> None:
    target = unpacked(tmp_path, handler, {"a.py": source})
    with pytest.raises(ServiceError, match=cause) as caught:
        load_model("m", target)
    assert caught.value.fix


def test_a_service_file_cannot_replace_a_handler(tmp_path: Path) -> None:
    target = unpacked(tmp_path, "a:f", {"a.py": "def f(data, context): pass"})
    with pytest.raises(ServiceError, match="a service file cannot replace"):
        load_model("m", target, service_file=target / "a.py")


def test_what_a_handler_says_of_one_answer_is_gone_at_the_next(tmp_path: Path) -> None:
    source = """
def f(data, context):
    if data and "once" in data[0]:
        context.set_response_status(404)
        context.set_response_header(0, "Content-Type", "text/x")
        context.set_response_header(0, "X-A", "1")
    return data and [context.get_all_request_header(0)]
"""
    model = load_model("m", unpacked(tmp_path, "a:f", {"a.py": source}))
    first: Any = model.service.inference(RawRequest({"once": b""}))
    assert (first.status, first.content_type, first.headers) == (404, "text/x", {"X-A": "1"})
    second: Any = model.service.inference(RawRequest(headers={"host": "h"}))
    assert (second.status, second.content_type, second.headers) == (200, "", {})
    assert json.loads(json.dumps(second.body)) == {"host": "h"}
