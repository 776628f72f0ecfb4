"""Tests of the exporter: the archive, reproducible bytes, and refusals of incomplete models."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from mms.export_model import export_model as export_by_name_of_0_4
from mms_server.archives.extract import check, unpack
from mms_server.cli import export_cmd
from mms_server.core.errors import MMSError
from tests.fixtures.tiny_model import SERVICE, SIGNATURE, export


def test_members_and_manifest(source: Path, tmp_path: Path) -> None:
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


def test_json_models_get_the_base_service_by_default(source: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"output_type": "text/html"}, "Valid type should be picked from image/jpeg"),
        ({"input_type": ["image/jpeg"]}, "Valid type should be picked from"),
        ({"outputs": None}, "no list named outputs"),
        ({"inputs": []}, "has no inputs"),
        ({"inputs": [{"data_name": "data"}]}, "data_shape of 'data'"),
        ({"inputs": [{"data_name": 5, "data_shape": [0]}]}, "no data_name"),
    ],
)
def test_bad_signatures_are_refused(
    source: Path, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    (source / "signature.json").write_text(json.dumps({**SIGNATURE, **change}))
    with pytest.raises(MMSError, match=says):
        export(source, tmp_path / "tiny.model")


@pytest.mark.parametrize("field", ["inputs", "outputs", "input_type", "output_type"])
def test_a_signature_without_a_required_field_is_refused(
    source: Path, tmp_path: Path, field: str
) -> None:
    text = {key: value for key, value in SIGNATURE.items() if key != field}
    (source / "signature.json").write_text(json.dumps(text))
    with pytest.raises(MMSError, match="are required in signature"):
        export(source, tmp_path / "tiny.model")


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
def test_incomplete_and_ambiguous_models_are_refused(
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


def test_the_command_exports_and_reports_errors(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model-name", "tiny", "--model-path", str(source), "--export-path", str(tmp_path)]
    assert export_cmd.main(words) == 0
    target = tmp_path / "tiny.model"
    text = f"Successfully exported model tiny to file {target}\n"
    assert capsys.readouterr().out == text
    assert export_cmd.main(words) == 2
    assert "already exists" in capsys.readouterr().err
    assert export_cmd.main([*words[:-1], str(tmp_path / "missing")]) == 2
    assert "Fix:" in capsys.readouterr().err


def test_flags_can_be_abbreviated_and_help_exits_0(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "mine.py").write_text(SERVICE)
    words = ["--model-n", "tiny", "--model-p", str(source), "--export", str(tmp_path)]
    assert export_cmd.main([*words, "--service", "mine.py"]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        export_cmd.main(["--help"])
    assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        export_cmd.main(words[:2])
    assert caught.value.code == 2


def test_the_python_function_of_0_4(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    export_by_name_of_0_4("tiny", model_path="~/source", service_file=None, export_file=None)
    assert (tmp_path / "tiny.model").is_file()
