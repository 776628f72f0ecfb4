"""Tests of service classes in the styles of 0.4's examples, several in one process."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.fixtures import models, service_models
from tests.fixtures.servers import Answer, Server, release_server, standalone, write_release

MAKERS = (
    service_models.detector,
    service_models.sentences,
    service_models.imperative,
    service_models.hybrid,
    service_models.gluon_vision,
)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("services")
    paths = [maker(directory) for maker in MAKERS]
    return {path.stem: path for path in paths}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, archives: dict[str, Path]) -> Iterator[Server]:
    with standalone(tmp_path_factory.mktemp("standalone"), archives) as running:
        yield running


def image_with_white_quarter(width: int, height: int, corner: tuple[int, int]) -> bytes:
    """Return a black image with one white quarter."""
    picture = Image.new("RGB", (width, height))
    box = (width // 2, height // 2)
    quarter = Image.new("RGB", box, (255, 255, 255))
    picture.paste(quarter, (corner[0] * box[0], corner[1] * box[1]))
    target = io.BytesIO()
    picture.save(target, "PNG")
    return target.getvalue()


def detect(server: Server, width: int, height: int) -> Answer:
    content = image_with_white_quarter(width, height, (1, 0))
    return server.predict("detector", {"data": ("a.jpg", "image/jpeg", content)})


def test_a_detector_answers_boxes_in_the_size_of_the_image(server: Server) -> None:
    answer = detect(server, 40, 20)
    assert answer.json == {"prediction": [["top right", 20, 0, 40, 10]]}


def test_attributes_of_a_service_belong_to_one_request(server: Server) -> None:
    """Predictions run one at a time, from the first stage to the last."""
    sizes = [(2 * n, 4 * n) for n in range(4, 44)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda size: detect(server, *size), sizes))
    boxes = [answer.json["prediction"] for answer in answers]
    assert boxes == [[["top right", w // 2, 0, w, h // 2]] for w, h in sizes]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The dow", [{"bucket": 2}, "dow jones"]),
        ("jones closed the", [{"bucket": 4}, "closed the dow"]),
    ],
)
def test_a_model_for_sentences(server: Server, sentence: str, expected: list[object]) -> None:
    text = json.dumps([{"input_sentence": sentence}]).encode()
    answer = server.predict("sentences", {"data": text})
    assert answer.json == {"prediction": expected}


def test_an_unknown_word_is_an_error_of_the_model(server: Server) -> None:
    text = json.dumps([{"input_sentence": "unknown"}]).encode()
    assert server.predict("sentences", {"data": text}).status == 500
    assert "Unknown token unknown" in server.log.read_text()


def test_archives_with_equal_names_of_service_and_helper(server: Server) -> None:
    answers = {
        name: server.predict(name, {"data": b"[[1, 2, 3]]"}).json["prediction"]
        for name in ("imperative", "hybrid")
    }
    assert answers == {
        "imperative": ["[[6.5, -6.0]]", "Block"],
        "hybrid": ["[[6.5, 0.0]]", "HybridBlock"],
    }


@pytest.mark.parametrize(
    ("color", "name"), [((255, 0, 0), "red"), ((0, 255, 0), "green"), ((0, 0, 255), "blue")]
)
def test_a_gluon_vision_service(server: Server, color: tuple[int, int, int], name: str) -> None:
    content = models.picture(color)
    answer = server.predict("vision", {"data": ("a.jpg", "image/jpeg", content)})
    (rows,) = answer.json["prediction"]
    assert rows[0]["class"] == name
    assert sum(row["probability"] for row in rows) == pytest.approx(1, abs=1e-5)


def test_the_open_inference_protocol_returns_gluon_outputs(server: Server) -> None:
    tensor = {"name": "data", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    body = json.dumps({"inputs": [tensor]}).encode()
    answer = server.request(
        "POST", "/v2/models/imperative/infer", body, {"Content-Type": "application/json"}
    )
    (output,) = answer.json["outputs"]
    assert (output["shape"], output["data"]) == ([1, 2], [6.5, -6.0])


def test_a_gluon_release_answers_from_forked_workers(
    releases: Path, archives: dict[str, Path]
) -> None:
    release = write_release(releases, archives["hybrid"], workers=2)
    with release_server(releases, release) as running:
        answers = [running.predict("hybrid", {"data": b"[[1, 2, 3]]"}) for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert {json.dumps(answer.json) for answer in answers} == {
        '{"prediction": ["[[6.5, 0.0]]", "HybridBlock"]}'
    }
