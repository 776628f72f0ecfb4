"""Fuzz tests of request bodies on all prediction routes: correct answers in time."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import socket
import urllib.parse
from collections.abc import Iterator

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.fixtures import models
from tests.fixtures.servers import Server
from tests.fuzz.answers import require_honest_answer

WAIT_S = 10.0

_PATHS = st.sampled_from(
    (
        *("/colors/predict", "/pair/predict", "/predictions/colors", "/predictions/pair"),
        *("/models/pair/invoke", "/invocations", "/invocations?model_name=pair"),
        *("/v2/models/pair/infer", "/v2/models/colors/infer", "/v2/models/pair/versions/1/infer"),
    )
)
_JPEG = models.picture()
_CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        (
            *(b"", _JPEG, _JPEG[:200], _JPEG[:2], models.picture(kind="PNG"), b"BM", b"\xff\xd8"),
            *(b"[[1, 2, 3]]", b"[[1,2]]", b"[]", b"[[]]", b"[null]", b"[[1e999, 2, 3]]", b"{}"),
            *(b"[" * 3000, b"[[NaN, 1, 2]]", b'[["a", "b", "c"]]', b"[[[1]]]", b"(1,", b"-" * 3000),
            *(b"/9j/4AAQ", b"====", b"[[1, 2, 3]", b"\x00", b"1" * 5000, b"[1e400]"),
        )
    ),
    # An image with changed bytes: OpenCV and Pillow may disagree about it.
    st.lists(st.tuples(st.integers(0, len(_JPEG) - 1), st.integers(0, 255)), max_size=8).map(
        lambda changes: bytes(dict(changes).get(at, byte) for at, byte in enumerate(_JPEG))
    ),
)
_FIELDS = st.sampled_from(("data", "left", "right", "other", "", "da\u00e4ta", 'q"uote', "a;b"))
_TYPES = st.sampled_from(
    ("image/jpeg", "image/png", "application/json", "text/plain", "x", "", "image/jpeg; a=b")
)
_HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)


@st.composite
def _forms(draw: st.DrawFn) -> tuple[bytes, str]:
    """Return a multipart body, well-formed or nearly, and its content type."""
    boundary = draw(st.sampled_from(("b", "a b", "-" * 70, "x" * 201, "\u00e4", 'q"', "b/b")))
    end = draw(st.sampled_from((b"\r\n", b"\r\n", b"\n", b"\r", b"")))
    rows = b""
    for _ in range(draw(st.integers(0, 4))):
        head = f'Content-Disposition: form-data; name="{draw(_FIELDS)}"'
        if draw(st.booleans()):
            head += f'; filename="{draw(st.sampled_from(("a.jpg", "", "../a", chr(0))))}"'
        lines = [head.encode("latin-1")]
        if draw(st.booleans()):
            lines.append(b"Content-Type: " + draw(_TYPES).encode())
        if draw(st.booleans()) and draw(st.booleans()):
            lines.append(
                b"Content-Transfer-Encoding: " + draw(st.sampled_from((b"base64", b"8bit", b"x")))
            )
        if draw(st.booleans()) and draw(st.booleans()):
            lines.append(draw(st.binary(max_size=30)))
        if draw(st.booleans()) and draw(st.booleans()):
            lines.append(b"X: " + b"y" * draw(st.sampled_from((8000, 9000))))
        part = end.join([*lines, b"", draw(_CONTENTS)])
        rows += b"--" + boundary.encode("latin-1") + end + part + end
    tail = draw(st.sampled_from((b"--", b"--\r\n", b"", b"-", b"--junk")))
    body = rows + b"--" + boundary.encode("latin-1") + tail
    if draw(st.booleans()) and draw(st.booleans()):
        body = body[: draw(st.integers(0, len(body)))]
    quoted = draw(st.sampled_from((boundary, f'"{boundary}"')))
    return body, f"multipart/form-data; boundary={quoted}"


_URLENCODED = st.lists(st.tuples(_FIELDS, _CONTENTS), max_size=4).map(
    lambda rows: (urllib.parse.urlencode(rows).encode(), "application/x-www-form-urlencoded")
)
_RAW = st.tuples(
    st.one_of(_CONTENTS, st.binary(max_size=400)),
    st.one_of(
        st.sampled_from(
            (
                *("multipart/form-data", "multipart/form-data; boundary=", "application/json"),
                *("application/x-www-form-urlencoded", "image/jpeg", "application/octet-stream"),
            )
        ),
        _HEADER_TEXT,
    ),
)


_LISTS = st.recursive(
    st.one_of(st.floats(), st.integers(-(10**20), 10**20), st.booleans(), st.none()),
    lambda inner: st.lists(inner, min_size=1, max_size=4),
    max_leaves=12,
)
_ROWS = st.one_of(
    st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=3),
    st.lists(_LISTS, max_size=3),
).map(lambda rows: json.dumps(rows).encode())


@settings(max_examples=settings().max_examples * 3)
@given(picture=_CONTENTS, as_file=st.booleans())
def test_any_picture(server: Server, picture: bytes, as_file: bool) -> None:
    """A well-formed form with any content: what passes the form's checks reaches the model."""
    field = ("a.jpg", "image/jpeg", picture) if as_file else base64.b64encode(picture)
    event(f"answered {require_honest_answer(server.predict('colors', {'data': field})).status}")


@settings(max_examples=settings().max_examples * 3)
@given(left=_ROWS, right=st.one_of(st.none(), _ROWS))
def test_any_lists(server: Server, left: bytes, right: bytes | None) -> None:
    fields = {"left": left, "right": left if right is None else right}
    event(f"answered {require_honest_answer(server.predict('pair', fields)).status}")


@settings(max_examples=settings().max_examples * 8)
@given(path=_PATHS, sent=st.one_of(_forms(), _forms(), _URLENCODED, _RAW))
def test_any_body(server: Server, path: str, sent: tuple[bytes, str]) -> None:
    body, content_type = sent
    headers = {"Content-Type": content_type.encode("latin-1")}
    answer = server.request("POST", path, body, headers, timeout=WAIT_S)  # type: ignore[arg-type]
    event(f"answered {require_honest_answer(answer).status}")


_NUMBERS = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3), st.integers(0, 3)
)
_TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(("left", "right", "data", "x")),
        "shape": st.one_of(
            st.sampled_from(([1, 3], [2, 3], [1], [0, 3], [-1, 3], [3], [1, 3, 1], [], None)),
            st.lists(st.integers(-2, 2**63), max_size=4),
        ),
        "datatype": st.sampled_from(
            ("FP32", "FP64", "INT8", "UINT64", "BYTES", "BOOL", "FP16", "")
        ),
        "data": st.one_of(
            st.lists(_NUMBERS, max_size=6),
            st.just([1, 2, 3]),
            st.just([[1, 2, 3]]),
            st.recursive(_NUMBERS, lambda inner: st.lists(inner, max_size=3), max_leaves=8),
        ),
    },
    optional={"parameters": st.dictionaries(st.sampled_from(("binary_data_size", "x")), _NUMBERS)},
)
_GOOD_TENSORS = st.tuples(
    st.sampled_from(("FP32", "FP32", "FP64", "INT8", "UINT8", "BOOL", "BYTES")),
    st.lists(st.one_of(st.floats(width=32), st.integers(0, 300), _NUMBERS), min_size=3, max_size=3),
    st.sampled_from(([1, 3], [1, 3], [3], [3, 1])),
).map(
    lambda row: [
        {"name": name, "datatype": row[0], "data": row[1], "shape": row[2]}
        for name in ("left", "right")
    ]
)
_INFER = st.fixed_dictionaries(
    {"inputs": st.one_of(st.lists(_TENSORS, max_size=3), _GOOD_TENSORS, _GOOD_TENSORS)},
    optional={
        "id": st.one_of(st.text(max_size=5), _NUMBERS),
        "outputs": st.lists(st.dictionaries(st.sampled_from(("name", "parameters")), _NUMBERS)),
        "parameters": st.dictionaries(st.sampled_from(("binary_data_output", "x")), st.booleans()),
    },
)


@settings(max_examples=settings().max_examples * 3)
@given(
    model=st.sampled_from(("pair", "pair", "colors")),
    message=_INFER,
    after=st.binary(max_size=60),
    length=st.one_of(st.none(), st.just(-1), st.integers(0, 500), st.integers(2**31, 2**70)),
)
def test_any_inference_message(
    server: Server, model: str, message: dict[str, object], after: bytes, length: int | None
) -> None:
    body = json.dumps(message).encode()
    headers = {"Content-Type": "application/json"}
    if length is not None:
        declared = len(body) if length < 0 else length
        headers["Inference-Header-Content-Length"] = str(declared)
        body += after
    answer = server.request("POST", f"/v2/models/{model}/infer", body, headers, timeout=WAIT_S)
    event(f"answered {require_honest_answer(answer).status}")


_LINES = st.sampled_from(
    (
        *(b"GET /ping HTTP/1.1", b"POST /pair/predict HTTP/1.1", b"GET / HTTP/9.9", b"GET", b""),
        *(b"POST http://x/pair/predict HTTP/1.0", b"OPTIONS * HTTP/1.1", b"GET /%zz HTTP/1.1"),
        *(b"Host: x", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99"),
        *(b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Connection: close", b": x"),
        *(
            b"Content-Type: multipart/form-data; boundary=b",
            b"--b",
            b"0",
            b"5",
            b"hello",
            b"ffffff",
        ),
        *(b"X: " + b"y" * 9000, b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"Upgrade: websocket"),
    )
)


@contextlib.contextmanager
def _allow_disconnect() -> Iterator[None]:
    """Ignore the errors of a connection that the server has closed."""
    try:
        yield
    except OSError as error:
        assert error.errno in {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN}


@given(st.lists(st.one_of(_LINES, st.binary(max_size=40)), max_size=12))
def test_any_bytes_on_the_wire(server: Server, lines: list[bytes]) -> None:
    """The server answers or closes the connection, and serves the next request."""
    with contextlib.closing(server.connect(WAIT_S)) as raw:
        # If the server closes the connection early, sending or shutting down fails.
        with _allow_disconnect():
            raw.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
            raw.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while raw.recv(65536):
                pass
    assert server.request("GET", "/ping", timeout=WAIT_S).status == 200
