"""Tests of ``--sample``: the archive gets golden samples, inputs with the model's answers."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import mxnet as mx
import pytest
from PIL import Image

from mms_server.archives import golden_samples
from mms_server.archives.extract import unpack
from mms_server.archives.signature import Signature
from mms_server.cli import export_cmd
from mms_server.core.errors import ArchiveError, MMSError, ServiceError
from mms_server.export import export_model
from mms_server.export.samples import read
from mms_server.inference.model_loader import load_model

# These tests start child processes that import MXNet.
pytestmark = pytest.mark.slow

RANDOM_ANSWER = """
import random
from mms.model_service.mxnet_model_service import MXNetBaseService


class Chance(MXNetBaseService):
    def _postprocess(self, data):
        return random.random()
"""


def source(directory: Path) -> Path:
    """Write a model that answers twice the sum of its two inputs."""
    directory.mkdir()
    total = mx.sym.Variable("left") + mx.sym.Variable("right")
    symbol = mx.sym.broadcast_mul(total, mx.sym.Variable("factor", shape=(1, 1)))
    symbol.save(str(directory / "pair-symbol.json"))
    mx.nd.save(str(directory / "pair-0000.params"), {"arg:factor": mx.nd.array([[2.0]])})
    (directory / "signature.json").write_text(json.dumps(signature("application/json")))
    (directory / "one.json").write_text("[[[1, 2]], [[3, 4]]]")
    return directory


def signature(kind: str, names: tuple[str, ...] = ("left", "right")) -> dict[str, Any]:
    return {
        "inputs": [{"data_name": name, "data_shape": [0, 2]} for name in names],
        "input_type": kind,
        "outputs": [{"data_name": "sum", "data_shape": [0, 2]}],
        "output_type": "application/json",
    }


def test_samples_are_packed_and_compared_at_load(tmp_path: Path) -> None:
    directory, archive = source(tmp_path / "pair"), tmp_path / "pair.model"
    before = sorted(directory.iterdir())
    words = ["--model-name", "pair", "--model-path", str(directory), "--export-path", str(tmp_path)]
    assert export_cmd.main([*words, *["--sample", str(directory / "one.json")] * 2]) == 0
    assert sorted(directory.iterdir()) == before
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist()[-3:] == [
            "mxnet_model_service.py",
            "mms-golden.json",
            "MANIFEST.json",
        ]
    unpack(archive, tmp_path / "unpacked")
    samples = golden_samples.read(tmp_path / "unpacked")
    assert [sample.expected for sample in samples] == [["[[8.0, 12.0]]"]] * 2
    golden_samples.check(load_model("pair", tmp_path / "unpacked"), samples)
    mx.nd.save(
        str(tmp_path / "unpacked" / "pair-0000.params"), {"arg:factor": mx.nd.array([[3.0]])}
    )
    with pytest.raises(ServiceError, match=r"golden sample 1: the answer\[0\]\[0\]\[0\] is 12.0"):
        golden_samples.check(load_model("pair", tmp_path / "unpacked"), samples)


@pytest.mark.parametrize(
    ("service", "sample", "says"),
    [
        (RANDOM_ANSWER, "[[[1, 2]], [[3, 4]]]", "the second time, the model answers differently"),
        ("", "[[[1, 2]], [[3, 4, 5]]]", "the model fails: ValueError: Input right has different"),
    ],
)
def test_a_model_whose_answers_vary_or_fail_is_refused(
    tmp_path: Path, service: str, sample: str, says: str
) -> None:
    directory = source(tmp_path / "pair")
    (directory / "one.json").write_text(sample)
    (directory / "mine.py").write_text(service)
    file, target = str(directory / "one.json"), tmp_path / "pair.model"
    service_file = "mine.py" if service else None
    with pytest.raises(MMSError, match=says):
        export_model("pair", str(directory), service_file, str(target), sample_files=[file])
    assert not target.exists()


def picture() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (4, 4)).save(target, "PNG")
    return target.getvalue()


def read_one(
    tmp_path: Path, content: bytes, kind: str, names: tuple[str, ...]
) -> tuple[bytes | list[Any], ...]:
    file = tmp_path / "sample"
    file.write_bytes(content)
    text = json.dumps(signature(kind, names))
    return read(file, Signature.from_json(text, tmp_path)).inputs


def test_a_sample_is_an_image_or_a_json_list(tmp_path: Path) -> None:
    image, text = picture(), base64.b64encode(picture()).decode()
    pair = json.dumps([text, text]).encode()
    assert read_one(tmp_path, image, "image/jpeg", ("a",)) == (image,)
    assert read_one(tmp_path, pair, "image/jpeg", ("a", "b")) == (image, image)
    assert read_one(tmp_path, b"[[[1]]]", "application/json", ("a",)) == ([[1]],)


@pytest.mark.parametrize(
    ("content", "kind", "names", "says"),
    [
        (b"[[1]]", "application/json", ("a", "b"), "has 1 inputs; the signature has 2: a, b"),
        (b"picture", "image/jpeg", ("a", "b"), "has 1 inputs"),
        (b"picture", "application/json", ("a",), "not JSON"),
        (b"{}", "application/json", ("a",), "no JSON list"),
        (b"[5]", "application/json", ("a",), "is not a list"),
        (b"[5]", "image/jpeg", ("a",), "not a picture in base64"),
        (b'["?"]', "image/jpeg", ("a",), "not a picture in base64"),
    ],
)
def test_samples_that_do_not_match_the_signature_are_refused(
    tmp_path: Path, content: bytes, kind: str, *, names: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ArchiveError, match=says):
        read_one(tmp_path, content, kind, names)


def test_a_missing_sample_is_refused(tmp_path: Path) -> None:
    directory = source(tmp_path / "pair")
    with pytest.raises(ArchiveError, match="sample cannot be read: No such file"):
        export_model(
            "pair", str(directory), None, str(tmp_path / "a.model"), sample_files=["missing"]
        )
