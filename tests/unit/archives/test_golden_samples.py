"""Golden samples in an archive, and a model that is compared with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mms_server.archives import golden_samples
from mms_server.archives.comparison import Tolerance
from mms_server.archives.golden_samples import Sample
from mms_server.core.errors import ArchiveError, GoldenError, ServiceError
from mms_server.inference.executor import Engine
from mms_server.inference.model_loader import LoadedModel
from mms_server.inference.servable import Servable


class Doubling:
    """A service without an engine: what is compared is its answer."""

    factor = 2.0

    def inference(self, data: list[Any]) -> Any:
        if data[0] == ["fail"]:
            raise SystemExit("no")
        first = data[0]
        data[0] = None
        return [len(first) * self.factor]


def put(directory: Path, *samples: Sample) -> Path:
    directory.mkdir(exist_ok=True)
    for name, content in golden_samples.encode(samples).items():
        (directory / name).write_bytes(content)
    return directory


SAMPLES = (
    Sample((b"\xff\xd8 picture",), [20.0]),
    Sample(([1, 2, 3], [[4]]), [6.0], Tolerance(0.5, 0.0)),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    put(tmp_path, *SAMPLES)
    assert golden_samples.read(tmp_path) == SAMPLES
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mms-golden-1-1.bin",
        "mms-golden.json",
    ]
    assert golden_samples.encode(SAMPLES) == golden_samples.encode(golden_samples.read(tmp_path))


def test_an_archive_without_samples(tmp_path: Path) -> None:
    assert golden_samples.read(tmp_path) == ()
    golden_samples.check(Doubling(), ())


def test_a_model_that_answers_as_expected() -> None:
    service = Doubling()
    engine = Engine(30, lambda: None)
    loaded = LoadedModel("m", None, service)
    for model in (service, loaded, Servable(loaded, engine)):
        golden_samples.check(model, SAMPLES)


@pytest.mark.parametrize("wrap", [False, True])
def test_a_model_that_does_not(wrap: bool) -> None:
    service: Any = Doubling()
    service.factor = 2.1
    model = LoadedModel("m", None, service) if wrap else service
    if wrap:
        model = Servable(model, Engine(30, lambda: None))
    with pytest.raises(ServiceError, match=r"golden sample 1: the answer\[0\] is 21.0"):
        golden_samples.check(model, SAMPLES)
    golden_samples.check(model, SAMPLES[1:])
    with pytest.raises(ServiceError, match="golden sample 1: the model fails: SystemExit: no"):
        golden_samples.check(model, [Sample((["fail"],), [1])])
    service.factor = float("nan")
    with pytest.raises(ServiceError, match="the model fails: ValueError: Out of range float"):
        golden_samples.check(model, SAMPLES)


@pytest.mark.parametrize("count", [golden_samples.MAX_SAMPLES, golden_samples.MAX_SAMPLES + 1])
def test_the_most_samples(tmp_path: Path, count: int) -> None:
    samples = [Sample(([n],), n) for n in range(count)]
    if count == golden_samples.MAX_SAMPLES:
        assert len(golden_samples.read(put(tmp_path, *samples))) == count
        return
    with pytest.raises(ArchiveError, match="more than 64 samples"):
        golden_samples.encode(samples)
    rows = [{"inputs": [], "expected": 1, "tolerance": {"relative": 1, "absolute": 0}}] * count
    (tmp_path / golden_samples.FILE_NAME).write_text(json.dumps({"format": 1, "samples": rows}))
    with pytest.raises(ArchiveError, match="over 64 samples"):
        golden_samples.read(tmp_path)


def test_the_most_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, SAMPLES[0])
    monkeypatch.setattr(golden_samples, "MAX_INPUT_BYTES", len(SAMPLES[0].inputs[0]))
    assert golden_samples.read(tmp_path)
    monkeypatch.setattr(golden_samples, "MAX_INPUT_BYTES", len(SAMPLES[0].inputs[0]) - 1)
    for act in (lambda: golden_samples.read(tmp_path), lambda: golden_samples.encode(SAMPLES)):
        with pytest.raises(ArchiveError, match=r"mms-golden-1-1\.bin: it has more than 9 bytes"):
            act()
    size = (tmp_path / golden_samples.FILE_NAME).stat().st_size
    monkeypatch.setattr(golden_samples, "MAX_INPUT_BYTES", 100)
    monkeypatch.setattr(golden_samples, "MAX_FILE_BYTES", size)
    assert golden_samples.read(tmp_path)
    monkeypatch.setattr(golden_samples, "MAX_FILE_BYTES", size - 1)
    with pytest.raises(ArchiveError, match="more than"):
        golden_samples.read(tmp_path)


class Answering:
    """Gives one answer, whatever it is asked."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def inference(self, _data: list[Any]) -> Any:
        return self._answer


def said(expected: Any, answer: Any, **rules: Any) -> str:
    """Return what is wrong with an answer; empty for nothing."""
    try:
        golden_samples.check(Answering(answer), [Sample(([1],), expected, **rules)])
    except GoldenError as error:
        return error.cause if error.fix and error.number == 1 else f"no fix: {error}"
    return ""


def ranking(**probabilities: float) -> list[dict[str, Any]]:
    return [{"class": name, "probability": value} for name, value in probabilities.items()]


def test_a_tolerance_for_each_output(tmp_path: Path) -> None:
    wide, narrow = Tolerance(0.5, 0), Tolerance(0.001, 0)
    expected = ["[[1.0]]", "[[1.0]]"]
    each = {"tolerance": (wide, narrow)}
    assert said(expected, ["[[1.4]]", "[[1.0009]]"], **each) == ""
    assert "the answer[1][0][0] is 1.4" in said(expected, ["[[1.0]]", "[[1.4]]"], **each)
    assert "has 2 tolerances, for 2 outputs expected, 1 found" in said(expected, ["1"], **each)
    sample = Sample(([1],), expected, (wide, narrow))
    assert golden_samples.read(put(tmp_path, sample)) == (sample,)


@pytest.mark.parametrize(
    ("expected", "answer", "best", "wanted"),
    [
        (["[[0.1, 0.9], [1, 0]]"], ["[[0.6, 0.4], [1, 0]]"], "0", "1"),
        ([[[0.1, 0.9]]], [[[0.6, 0.4]]], "0", "1"),
        ([ranking(cat=0.6, dog=0.4)], [ranking(dog=0.6, cat=0.4)], "dog", "cat"),
    ],
    ids=["text", "numbers", "classes"],
)
def test_the_likeliest_class_must_agree(
    expected: Any, answer: Any, best: str, wanted: str, tmp_path: Path
) -> None:
    anything: dict[str, Any] = {"tolerance": Tolerance(10, 10)}
    assert said(expected, answer, **anything) == ""
    told = said(expected, answer, **anything, top1=True)
    assert told == f"golden sample 1: the likeliest class is {best}; expected is {wanted}."
    assert said(expected, expected, top1=True) == ""
    sample = Sample(([1],), expected, top1=True)
    assert golden_samples.read(put(tmp_path, sample)) == (sample,)


@pytest.mark.parametrize("answer", ["[[nan]]", "[[-inf, 1.0]]", "[[1.0, nan]]"])
def test_an_answer_that_is_no_number_is_never_right(answer: str) -> None:
    expected = "golden sample 1: the answer[0] holds a NaN or an infinite number."
    assert said([answer], [answer]) == expected


def test_words_are_no_numbers() -> None:
    for answer in ('["nan"]', "nan", "[[1.0]] informal"):
        assert said([answer], [answer]) == ""


ROW = {"inputs": [[1]], "expected": 1, "tolerance": {"relative": 0.1, "absolute": 0}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        json.dumps({"format": 2, "samples": []}),
        json.dumps({"format": 1, "samples": {}}),
        json.dumps({"format": 1, "samples": [1]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": 5}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [{}]}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [{"value": 5}]}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [{"file": 5}]}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [{"file": "/etc/passwd"}]}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [{"file": "mms-golden/../x"}]}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [{"file": "mms-golden\0"}]}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [{"file": "mms-golden-9"}]}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [], "tolerance": 1}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [], "tolerance": [1]}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [], "top1": 1}]}),
        json.dumps({"format": 1, "samples": [{**ROW, "inputs": [], "top1": True}]}),
        '{"format": 1, "samples": [{"inputs": [], "tolerance": {"relative": NaN, "absolute": 1}}]}',
        '{"format": 1, "samples": [{"inputs": [], "tolerance": {"relative": -1, "absolute": 1}}]}',
        '{"format": 1, "samples": [{"inputs": [], "tolerance": {"relative": true}}]}',
    ],
)
def test_damaged_samples(tmp_path: Path, text: str) -> None:
    (tmp_path / golden_samples.FILE_NAME).write_text(text)
    with pytest.raises(ArchiveError):
        golden_samples.read(tmp_path)


def test_text_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / golden_samples.FILE_NAME).write_bytes(b"\xff")
    with pytest.raises(ArchiveError, match="not UTF-8"):
        golden_samples.read(tmp_path)
