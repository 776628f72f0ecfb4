"""The exporter: the same bytes on every run, and a clear refusal of anything incomplete."""

from __future__ import annotations

import json
import os
import re
import stat
import zipfile
from pathlib import Path

import pytest

from mms.export_model import export_model as contract_export
from mms_server import export_cli
from mms_server.archive import check, unpack
from mms_server.errors import MMSError
from mms_server.export import export_model, exporter, pack
from mms_server.export.model_files import model_files

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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import os; os._exit(0)", "exited with code 0 before it answered"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_service_files_that_end(source: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(MMSError, match=says):
        export(source, tmp_path / "tiny.model", service=str(tmp_path / "mine.py"))
    assert not (tmp_path / "tiny.model").exists()


def test_a_service_file_that_hangs(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_IMPORT_TIMEOUT_S", 1.0)
    (tmp_path / "mine.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(MMSError, match="ran longer than 1 s"):
        export(source, tmp_path / "tiny.model", service=str(tmp_path / "mine.py"))


def test_a_service_file_that_prints_and_leaves_threads_and_processes(
    source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "import subprocess, sys, threading, time\n"
        'print(\'{"value": "gluon"}\')\n'
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        f"child = subprocess.Popen(['sleep', '61'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n" + SERVICE
    )
    export(source, tmp_path / "tiny.model", service=str(tmp_path / "mine.py"))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "gluon" in captured.err
    state = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    # Killed; in a container without an init process nobody may have reaped it.
    assert not state.exists() or state.read_text().split()[2] in "ZX"


GLUON = """
from mms.model_service.mxnet_model_service import GluonImperativeBaseService


class Mine(GluonImperativeBaseService):
    pass
"""
BOTH = """
from mms.model_service.mxnet_model_service import GluonImperativeBaseService, MXNetBaseService


class Mine(MXNetBaseService, GluonImperativeBaseService):
    pass
"""


@pytest.mark.parametrize("parameters", ["", "any name.params"])
def test_gluon(source: Path, tmp_path: Path, parameters: str) -> None:
    (source / "tiny-symbol.json").unlink()
    (source / "tiny-0003.params").unlink()
    if parameters:
        (source / parameters).write_bytes(b"weights")
    (source / "mine.py").write_text(GLUON)
    with zipfile.ZipFile(export(source, tmp_path / "tiny.model", service="mine.py")) as opened:
        manifest = json.loads(opened.read("MANIFEST.json"))
    model = manifest["Model"]
    assert model["Model-Format"] == "Gluon-Imperative"
    assert (model["Symbol"], model["Parameters"]) == ("", parameters)
    assert (model["Service"], manifest["Engine"]) == ("mine.py", {"MXNet": "1.9.1"})


@pytest.mark.parametrize(
    ("remove", "text", "says"),
    [
        ("", GLUON, "More than one model type is present: tiny-symbol.json, tiny-0003.params, a"),
        ("tiny-0003.params", GLUON, "Incomplete MXNet model"),
        ("", BOTH, "derived from both of MXNetBaseService, GluonImperativeBaseService"),
    ],
)
def test_gluon_refusals(source: Path, tmp_path: Path, remove: str, text: str, says: str) -> None:
    if remove:
        (source / remove).unlink()
    (source / "mine.py").write_text(text)
    with pytest.raises(MMSError, match=says):
        export(source, tmp_path / "tiny.model", service="mine.py")


@pytest.mark.parametrize("names", [[], ["-symbol.json"], [".params"], ["-symbol.json", ".params"]])
@pytest.mark.parametrize("gluon", [True, False])
def test_onnx_goes_with_nothing_else(tmp_path: Path, names: list[str], gluon: bool) -> None:
    every = dict.fromkeys(["a.onnx", *(f"a{name}" for name in names)])
    if not names and not gluon:
        assert model_files(tmp_path, every, gluon=gluon).onnx == "a.onnx"
    else:
        with pytest.raises(MMSError, match="More than one model type"):
            model_files(tmp_path, every, gluon=gluon)


def test_sub_directories_go_in_by_their_relative_names(source: Path, tmp_path: Path) -> None:
    for place in ("assets/words", ".git", "__pycache__"):
        (source / place).mkdir(parents=True)
        (source / place / "deep.txt").write_text(place)
    (source / ".DS_Store").write_text("")
    (source / ".hidden").write_text("as 0.4 did")
    (source / "assets" / "extra.params").write_bytes(b"not the model's")
    (source / "mms-golden.json").write_text("of another export")
    archive = export(source, tmp_path / "tiny.model")
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == [
            ".hidden",
            "assets/extra.params",
            "assets/words/deep.txt",
            "signature.json",
            "synset.txt",
            "tiny-0003.params",
            "tiny-symbol.json",
            "vocabulary.txt",
            "mxnet_vision_service.py",
            "MANIFEST.json",
        ]
    unpack(archive, tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "deep.txt").read_text() == "assets/words"


def test_a_service_file_in_a_sub_directory(source: Path, tmp_path: Path) -> None:
    (source / "code").mkdir()
    (source / "code" / "mine.py").write_text(SERVICE)
    with zipfile.ZipFile(export(source, tmp_path / "a.model", service="code/mine.py")) as opened:
        assert [name for name in opened.namelist() if name.endswith(".py")] == ["code/mine.py"]
        assert json.loads(opened.read("MANIFEST.json"))["Model"]["Service"] == "mine.py"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a/x.txt", "b/x.txt"], "'a/x.txt' and 'b/x.txt' would be the same file"),
        (["a/X.txt", "x.txt"], "would be the same file"),
        (["a/MANIFEST.json"], "would be the same file"),
        (["a/mxnet_vision_service.py"], "would be the same file"),
        (["caf\u00e9.txt", "a/cafe\u0301.txt"], "would be the same file"),
        (["a\nb"], "unusable name"),
        (["a\\b"], "unusable name"),
        (["C:b"], "unusable name"),
    ],
)
def test_names_that_could_not_be_unpacked(
    source: Path, tmp_path: Path, names: list[str], says: str
) -> None:
    for name in names:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(name)
    with pytest.raises(MMSError, match=re.escape(says)):
        export(source, tmp_path / "tiny.model")


def test_a_link_to_a_directory_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "loop").symlink_to(source)
    with pytest.raises(MMSError, match="link to a directory"):
        export(source, tmp_path / "tiny.model")


def test_a_failed_write_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "vocabulary.txt").chmod(0)
    if os.access(source / "vocabulary.txt", os.R_OK):  # root reads all
        monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13)))
    with pytest.raises(PermissionError):
        pack.write(tmp_path / "tiny.model", {"vocabulary.txt": source / "vocabulary.txt"})
    assert list(tmp_path.iterdir()) == [source]


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
def test_bad_signatures(source: Path, tmp_path: Path, change: dict[str, object], says: str) -> None:
    (source / "signature.json").write_text(json.dumps({**SIGNATURE, **change}))
    with pytest.raises(MMSError, match=says):
        export(source, tmp_path / "tiny.model")


@pytest.mark.parametrize("field", ["inputs", "outputs", "input_type", "output_type"])
def test_fields_that_a_signature_needs(source: Path, tmp_path: Path, field: str) -> None:
    text = {key: value for key, value in SIGNATURE.items() if key != field}
    (source / "signature.json").write_text(json.dumps(text))
    with pytest.raises(MMSError, match="are required in signature"):
        export(source, tmp_path / "tiny.model")


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


def test_the_flags_abbreviations_and_help(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "mine.py").write_text(SERVICE)
    words = ["--model-n", "tiny", "--model-p", str(source), "--export", str(tmp_path)]
    assert export_cli.main([*words, "--service", "mine.py"]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        export_cli.main(["--help"])
    assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        export_cli.main(words[:2])
    assert caught.value.code == 2


def test_the_entry_point_of_0_4(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    contract_export("tiny", model_path="~/source", service_file=None, export_file=None)
    assert (tmp_path / "tiny.model").is_file()
