"""Tests of the client, ``mms-predict`` and a generated client with a real standalone server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mms_server.cli.client import AnswerError, Client, Input, ModelNotFoundError
from tests.fixtures import models
from tests.fixtures.servers import BIN, Server

RED = models.picture()


@pytest.fixture
def client(server: Server) -> Client:
    return Client(f"http://127.0.0.1:{server.place}", timeout_s=30)


def test_health_and_models(client: Client) -> None:
    assert client.ping()
    assert client.inputs("colors") == (Input("data", is_picture=True),)
    assert [row.name for row in client.inputs("pair")] == ["left", "right"]


def test_predictions(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "red.jpg"
    file.write_bytes(RED)
    for answer in (
        client.predict("colors", file),
        client.predict("colors", RED),
        client.predict("colors", {"data": models.picture(kind="PNG")}),
        client.predict_base64("colors", RED),
    ):
        assert answer[0][0]["class"] == "red"
    pair = client.predict("pair", {"left": [[1, 2, 3]], "right": [[1, 1, 1]]})
    assert pair == ["[[4.0, 6.0, 8.0]]"]


def test_errors_of_the_server(client: Client) -> None:
    with pytest.raises(AnswerError, match="Error occurs while inference") as caught:
        client.predict("pair", {"left": [[1, 2]], "right": [[1, 2]]})
    assert caught.value.status == 500
    with pytest.raises(AnswerError, match="malformed node or string") as caught:
        client.predict("pair", {"left": [[1, 2, 3]]})
    assert caught.value.status == 400
    with pytest.raises(ModelNotFoundError):
        client.predict("nobody", {"data": RED})


def run(*words: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, timeout=110, check=False, cwd=directory
    )


def test_mms_predict_prints_the_answer_or_the_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "red.jpg").write_bytes(RED)
    url = f"http://127.0.0.1:{server.place}"
    command = (sys.executable, "-m", "mms_server.cli.predict_cmd", url)
    done = run(*command, "colors", "red.jpg", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"class": "red"' in done.stdout
    (tmp_path / "red.jpg").write_bytes(b"")
    done = run(*command, "colors", "red.jpg", directory=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the server answered 400: Input data for request argument: data is empty" in done.stderr


USE = """
import sys
from pathlib import Path

import openapi_client

configuration = openapi_client.Configuration(host=sys.argv[1])
with openapi_client.ApiClient(configuration) as connection:
    api = openapi_client.DefaultApi(connection)
    print(api.ping().health)
    print(api.colors_predict(("red.jpg", Path("red.jpg").read_bytes()))["prediction"][0][0])
    print(api.pair_predict("[[1,2,3]]", "[[1,1,1]]")["prediction"])
"""


def test_a_generated_client(server: Server, archives: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "red.jpg").write_bytes(RED)
    pairs = [f"{name}={archives[name]}" for name in ("colors", "pair")]
    command = (str(BIN / "mxnet-model-server"), "--models", *pairs, "--gen-api", "python")
    done = run(*command, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "build" / "use.py").write_text(USE)
    url = f"http://127.0.0.1:{server.place}"
    done = run(sys.executable, "build/use.py", url, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    health, color, pair = done.stdout.splitlines()
    assert health == "healthy!"
    assert "'class': 'red'" in color
    assert pair == "['[[4.0, 6.0, 8.0]]']"
