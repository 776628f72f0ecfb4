"""Form bodies: valid ones are parsed, all others are refused within limits of time and memory."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_server.config.request_limits import RequestLimits
from mms_server.core.errors import BadInputError, BodyTooLargeError, RequestError
from mms_server.rest import form_parser
from mms_server.rest.form_parser import Form

KIND = "multipart/form-data; boundary=b"


def parse(content_type: str, body: bytes, **limits: int) -> Form:
    """Parse with the default limits, but ``limits``."""
    return form_parser.parse(content_type, body, RequestLimits(**limits))


def part(disposition: str, value: bytes, *headers: str) -> bytes:
    lines = "\r\n".join([f"Content-Disposition: form-data; {disposition}", *headers])
    return f"--b\r\n{lines}\r\n\r\n".encode() + value + b"\r\n"


def test_fields_and_files() -> None:
    body = (
        b"preamble\r\n"
        + part('name="a"', b"one\r\n--c\r\n")
        + part('filename="x.jpg"; name=f', b"\x00\xff", "content-type:  image/jpeg ")
        + part('name="empty"; filename=""', b"")
        + b"--b--\r\nepilogue"
    )
    form = parse(KIND, body)
    field, file, empty = form.parts
    assert (field.name, field.text, field.filename) == ("a", "one\r\n--c\r\n", None)
    assert (file.value, file.filename, file.content_type) == (b"\x00\xff", "x.jpg", "image/jpeg")
    assert (empty.value, empty.filename) == (b"", "")
    assert form.file("f") is file
    assert form.field("f") is None
    assert form.field("a") is field


def test_the_first_part_of_a_name_counts() -> None:
    form = parse(KIND, part('name="a"', b"1") + part('name="a"', b"2") + b"--b--")
    found = form.field("a")
    assert found is not None
    assert found.value == b"1"


@pytest.mark.parametrize("encoding", ["base64", " Base64 "])
def test_a_part_in_base64_is_decoded(encoding: str) -> None:
    header = f"Content-Transfer-Encoding:{encoding}"
    form = parse(KIND, part('name="a"; filename="x"', b"AAEC\r\n/w==", header) + b"--b--")
    assert form.parts[0].value == b"\x00\x01\x02\xff"


def test_a_part_in_broken_base64_is_refused() -> None:
    body = part('name="a"', b"A*", "Content-Transfer-Encoding: base64") + b"--b--"
    with pytest.raises(BadInputError, match="not base64"):
        parse(KIND, body)


@pytest.mark.parametrize("boundary", ['"b"', "b; charset=utf-8", '"b" '])
def test_boundaries(boundary: str) -> None:
    kind = f"Multipart/Form-Data; boundary={boundary}"
    assert len(parse(kind, part("name=a", b"1") + b"--b--").parts) == 1


def test_urlencoded() -> None:
    form = parse("application/x-www-form-urlencoded; charset=utf-8", b"a=1+2%2b&&b&c=%C3%A9%zz=")
    assert [(row.name, row.text) for row in form.parts] == [
        ("a", "1 2+"),
        ("b", ""),
        ("c", "é%zz="),
    ]


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "image/jpeg", "\r\n", "/"])
def test_other_bodies_are_no_form(kind: str) -> None:
    assert parse(kind, b'{"a": 1}') == Form()


MALFORMED = [
    b"",
    b"--b",
    b"--b\r\n",
    b"--bb\r\n",
    b"--b\r\n\r\n\r\n--b--",
    b"--b\r\nno colon\r\n\r\nx\r\n--b--",
    part("name=a", b"1"),
    part("name=a", b"1")[:-2] + b"--b--",
    part("name=a", b"1") + b"--b junk\r\n",
    b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
    part("name=a", b"1", "h: " + "v" * 10_000) + b"--b--",
]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_multipart(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse(KIND, body)


@pytest.mark.parametrize(
    "body",
    [
        part("name=a", b"") * 100_000 + b"--b--",
        b"--b\r\n" * 3_000_000,
        b"x" * 20_000_000,
        b"\r\n--" * 5_000_000,
        b"--b\r\n" + b"a:b\r\n" * 3_000_000,
    ],
    ids=["parts", "boundaries", "preamble", "almost", "headers"],
)
def test_hostile_multipart_is_refused_in_linear_time(body: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(RequestError):
        parse(KIND, body)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("body", [b"a=1&" * 1001, b"a=" + b"%41" * 2_000_001])
def test_hostile_urlencoded_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse("application/x-www-form-urlencoded", body)


@pytest.mark.parametrize("count", [2, 3])
def test_a_form_of_a_limit_of_parts(count: int) -> None:
    multipart = part("name=a", b"") * count + b"--b--"
    for kind, body in (
        (KIND, multipart),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * count)),
    ):
        if count == 2:
            assert len(parse(kind, body, max_parts=2).parts) == count
        else:
            with pytest.raises(BodyTooLargeError, match="more than 2 "):
                parse(kind, body, max_parts=2)


def test_a_part_with_headers_of_the_limit() -> None:
    body = part("name=a", b"1", "h: " + "v" * 100) + b"--b--"
    assert parse(KIND, body, max_part_header_bytes=200).parts
    with pytest.raises(BodyTooLargeError, match="headers of more than 100 bytes"):
        parse(KIND, body, max_part_header_bytes=100)


def test_a_form_with_the_limit_of_escapes() -> None:
    kind = "application/x-www-form-urlencoded"
    assert parse(kind, b"a=%41%41", max_form_escapes=2).parts
    with pytest.raises(BodyTooLargeError, match="too many escaped"):
        parse(kind, b"a=%41%41%41", max_form_escapes=2)


@given(st.text(max_size=60), st.binary(max_size=200))
def test_any_body_is_parsed_or_refused(kind: str, body: bytes) -> None:
    for content_type in (kind, KIND, "application/x-www-form-urlencoded"):
        try:
            parse(content_type, b"--b\r\n" + body)
        except RequestError:
            continue


@given(st.lists(st.tuples(st.text("abc", min_size=1), st.binary(max_size=50)), max_size=5))
def test_fields_are_read_as_they_were_sent(rows: list[tuple[str, bytes]]) -> None:
    rows = [(name, value) for name, value in rows if b"\r\n--b" not in b"\r\n" + value + b"\r\n"]
    body = b"".join(part(f'name="{name}"', value) for name, value in rows) + b"--b--\r\n"
    assert [(row.name, row.value) for row in parse(KIND, body).parts] == rows
