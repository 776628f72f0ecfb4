"""Fuzz tests of ``mms.conf``: any text is parsed, or raises a ConfError that names a line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from mms_server.config import mms_conf
from mms_server.config.mms_args import MODEL_NAME
from mms_server.core.errors import ConfError

FILE = Path("mms.conf")
_HEADERS = (
    "[MMS Arguments]",
    "[Gunicorn Arguments]",
    "[Nginx Configurations]",
    "[MXNet Environment Variables]",
    "[ mms ]",
    "[GUNICORN",
    "[other]",
    "[]",
    "[1]",
)
_LINES = (
    *("--models", "--model", "--service", "--port", "--host", "--gpu", "--num-gpu", "--"),
    *("--log-file", "--log-level", "--log-rotation-time", "--metrics-write-to", "--gen-api"),
    *("m=/a.model", "a=/b  c=/d", "a=b=c", "=", "m=", "=/a", "m=s3://b/k", "optional", "OPTIONAL"),
    *(
        "--bind",
        "unix:/tmp/a.sock",
        "--workers",
        "3",
        "--timeout 60",
        "-w",
        "-w 4",
        "--no-sendfile",
    ),
    *(
        "--worker-class",
        "gevent",
        "--env",
        "A=1",
        "--statsd-host",
        "x:1",
        "--config",
        "--forwarded",
    ),
    *("server {", "listen 8080;", "}", "server_name x;", "A=1", "A=1 B=2", "OMP", "LISTEN_FDS=1"),
    *("# comment", "$ comment", "", "  ", "\t", "1 H", "99999999999999999999", "-1", "80"),
)
_WORDS = st.one_of(
    st.sampled_from(_LINES), st.sampled_from(_HEADERS), st.text(max_size=30), st.just("--models")
)
_BLANKS = st.sampled_from(("", " ", "\t", "\x0b", "\u00a0"))
_ROWS = st.tuples(_BLANKS, _WORDS, _BLANKS).map("".join)
_TEXTS = st.lists(_ROWS, max_size=40).flatmap(
    lambda rows: st.sampled_from(("\n", "\r\n", "\r", "\x85")).map(lambda end: end.join(rows))
)
_GOOD = "[MMS Arguments]\n--models\nm=/a.model\n"


@settings(max_examples=settings().max_examples * 10)
@example("[")
@example("[mms]\n--models\nm=/a\n[gunicorn]\n--workers\n" + "9" * 5000)
@given(st.one_of(_TEXTS, _TEXTS.map(_GOOD.__add__), st.text()))
def test_any_text(text: str) -> None:
    try:
        found = mms_conf.parse(text, FILE)
    except ConfError as error:
        event("refused")
        assert 0 <= error.line <= text.count("\n") + 1
        assert error.cause
        return
    event("parsed")
    assert found.models
    for model in found.models:
        assert MODEL_NAME.fullmatch(model.name)
        assert model.location
        assert not any(sign.isspace() for sign in model.location)
    assert found.workers is None or 1 <= found.workers <= 9999
    assert 0 < found.port <= 65535
    assert all(not any(c.isspace() for c in word) for arg in found.gunicorn for word in arg.argv())


@given(st.one_of(st.binary(max_size=300), _TEXTS.map(str.encode)))
def test_any_bytes(place: Path, data: bytes) -> None:
    file = place / "mms.conf"
    file.write_bytes(data)
    try:
        found = mms_conf.read(file)
    except ConfError as error:
        assert error.file == str(file)
    else:
        assert dataclasses.replace(found, file=FILE) == mms_conf.parse(
            data.decode("utf-8-sig"), FILE
        )
