"""The exporter: the same bytes on every run, and a clear refusal of anything incomplete."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from mms_server import export_cli
from mms_server.archive import check, unpack
from mms_server.errors import MMSError
from mms_server.export import export_model

SYMBOL = {
    "nodes": [{"op": "null", "name": "data"}, {"op": "FullyConnected", "name": "fc"}],
    "attrs": {"mxnet_version": ["int", 10901]},
}
SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, 3, 8, 8]}],
    "input_type": "image/jpeg",
    "outputs": [{"data_name": "out", "data_shape": [0, 2]}],
    "output_type": "application/json",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "tiny-symbol.json").write_text(json.dumps(SYMBOL))
    (directory / "tiny-0003.params").write_bytes(b"weights" * 1000)
    (directory / "signature.json").write_text(json.dumps(SIGNATURE))
    (directory / "synset.txt").write_text("one\ntwo\n")
    (directory / "vocabulary.txt").write_text("words\n")
    return directory


def export(source: Path, target: Path, name: str = "tiny", service: str | None = None) -> Path:
    return export_model(name, str(source), service, str(target))


def test_an_archive(source: Path, tmp_path: Path) -> None:
    archive = export(source, tmp_path / "tiny.model")
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == [
            "signature.json",
            "synset.txt",
            "tiny-0003.params",
            "tiny-symbol.json",
            "vocabulary.txt",
            "mxnet_vision_service.py",
            "MANIFEST.json",
        ]
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_STORED}
        manifest = json.loads(opened.read("MANIFEST.json"))
    assert manifest == {
        "Model-Archive-Version": 0.2,
        "Model-Archive-Description": "tiny",
        "Model-Server": 0.4,
        "Engine": {"MXNet": ["int", 10901]},
        "Model": {
            "Model-Name": "tiny",
            "Description": "tiny",
            "Model-Format": "MXNet-Symbolic",
            "Service": "mxnet_vision_service.py",
            "Signature": "signature.json",
            "Symbol": "tiny-symbol.json",
            "Parameters": "tiny-0003.params",
        },
    }


def test_an_archive_can_be_unpacked_and_checked(source: Path, tmp_path: Path) -> None:
    unpack(export(source, tmp_path / "tiny.model"), tmp_path / "unpacked")
    manifest, signature = check(tmp_path / "unpacked")
    assert (manifest.model_name, signature.inputs[0].data_name) == ("tiny", "data")


def test_the_same_bytes_on_every_run(source: Path, tmp_path: Path) -> None:
    first = export(source, tmp_path / "first.model")
    for path in source.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    old = os.umask(0o077)
    try:
        second = export(source, tmp_path / "second.model")
    finally:
        os.umask(old)
    assert first.read_bytes() == second.read_bytes()
    assert stat.S_IMODE(second.stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first.model",
        "second.model",
        "source",
    ]


def test_json_models_get_the_base_service(source: Path, tmp_path: Path) -> None:
    changed = {**SIGNATURE, "input_type": "application/json"}
    (source / "signature.json").write_text(json.dumps(changed))
    with zipfile.ZipFile(export(source, tmp_path / "tiny.model")) as opened:
        assert "mxnet_model_service.py" in opened.namelist()


def test_an_unpacked_archive_can_be_exported_again(source: Path, tmp_path: Path) -> None:
    first = export(source, tmp_path / "tiny.model")
    unpack(first, tmp_path / "unpacked")
    (tmp_path / "unpacked" / "old.model").write_bytes(b"an archive made here earlier")
    second = export(tmp_path / "unpacked", tmp_path / "again.model")
    assert first.read_bytes() == second.read_bytes()


SERVICE = """
from mms.model_service.mxnet_vision_service import MXNetVisionService


class MyService(MXNetVisionService):
    pass
"""


@pytest.mark.parametrize("inside", [True, False])
def test_an_own_service_file(source: Path, tmp_path: Path, inside: bool) -> None:
    file = (source if inside else tmp_path) / "my_service.py"
    file.write_text(SERVICE)
    given = "my_service.py" if inside else str(file)
    archive = export(source, tmp_path / "tiny.model", service=given)
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist().count("my_service.py") == 1
        assert "mxnet_vision_service.py" not in opened.namelist()
        assert json.loads(opened.read("MANIFEST.json"))["Model"]["Service"] == "my_service.py"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module", "cannot be imported"),
        ("x = 1", "one user defined service"),
        (SERVICE + "class Other(MXNetVisionService):\n    pass\n", "MyService, Other"),
        (
            (
                "from mms.model_service.model_service import SingleNodeService\n"
                "class Mine(SingleNodeService):\n    pass\n"
            ),
            "derived from neither of MXNetBaseService, Gluon",
        ),
    ],
)
def test_bad_service_files(source: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(MMSError, match=says):
        export(source, tmp_path / "tiny.model", service=str(tmp_path / "mine.py"))


def test_a_missing_service_file(source: Path, tmp_path: Path) -> None:
    with pytest.raises(MMSError, match="no such service file"):
        export(source, tmp_path / "tiny.model", service="missing.py")


@pytest.mark.parametrize(
    ("remove", "add", "says"),
    [
        (["tiny-symbol.json", "tiny-0003.params"], {}, "No model files found"),
        (["tiny-symbol.json"], {}, "Incomplete MXNet model"),
        (["tiny-0003.params"], {}, "Incomplete MXNet model"),
        ([], {"net.onnx": ""}, "More than one model type"),
        (
            ["tiny-symbol.json", "tiny-0003.params"],
            {"net.onnx": "no model"},
            "cannot convert this ONNX",
        ),
        ([], {"b-symbol.json": "{}"}, "expects only one -symbol.json"),
        ([], {"tiny-0004.params": ""}, "expects only one .params"),
        (["tiny-0003.params"], {"tiny.params": ""}, "must be named tiny-<epoch>.params"),
        (["tiny-0003.params"], {"other-0000.params": ""}, "must be named tiny-<epoch>"),
        (["signature.json"], {}, "signature.json is not found"),
        ([], {"signature.json": "{}"}, "input_type and output_type are required"),
        ([], {"tiny-symbol.json": "[]"}, "not a JSON object"),
        ([], {"tiny-symbol.json": "{}"}, "not an MXNet symbol"),
        ([], {"tiny-symbol.json": '{"nodes": []}'}, "data: no such input"),
    ],
)
def test_refusals(
    source: Path, tmp_path: Path, remove: list[str], add: dict[str, str], says: str
) -> None:
    for name in remove:
        (source / name).unlink()
    for name, text in add.items():
        (source / name).write_text(text)
    with pytest.raises(MMSError, match=says) as caught:
        export(source, tmp_path / "tiny.model")
    assert caught.value.fix
    assert list(tmp_path.iterdir()) == [source]


def test_an_epoch_that_no_server_would_find(source: Path, tmp_path: Path) -> None:
    with pytest.raises(MMSError, match="epoch 3 is only found"):
        export(source, tmp_path / "other.model", name="other")
    (source / "tiny-0003.params").rename(source / "tiny-0000.params")
    assert export(source, tmp_path / "other.model", name="other").is_file()


def test_an_existing_archive_is_kept(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny.model"
    target.write_bytes(b"precious")
    with pytest.raises(MMSError, match="already exists"):
        export(source, target)
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../a", "a\nb"])
def test_bad_names(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(MMSError, match="no usable model name"):
        export(source, tmp_path / "tiny.model", name=name)


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model-name", "tiny", "--model-path", str(source), "--export-path", str(tmp_path)]
    assert export_cli.main(words) == 0
    target = tmp_path / "tiny.model"
    text = f"Successfully exported model tiny to file {target}\n"
    assert capsys.readouterr().out == text
    assert export_cli.main(words) == 2
    assert "already exists" in capsys.readouterr().err
    assert export_cli.main([*words[:-1], str(tmp_path / "missing")]) == 2
    assert "Fix:" in capsys.readouterr().err
