"""Checks that send requests of the table and compare the answers with the recordings."""

from __future__ import annotations

import ast
import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.compat.request_table import REQUESTS
from tests.compat.rows import Ground
from tests.fixtures.servers import Answer

Check = Callable[[Ground], None]

FRONT_ENDS = ("standalone", "gunicorn")
FLOAT32 = 1e-5
# The headers on which clients may depend. Others name the server, and lengths follow the spacing.
HEADERS = (
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "allow",
    "content-type",
    "vary",
)
_PAGE = re.compile(
    r'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3\.2 Final//EN">\n<title>(\d{3} .+)</title>\n'
    r"<h1>(.+)</h1>\n<p>(.*)</p>\n",
    re.DOTALL,
)


def same(*names: str, text: str | None = None, tolerance: float = FLOAT32) -> Check:
    """Return a check that mms-hosts answers these requests as the original did, field by field.

    ``text`` is the beginning of our error's text, if it differs from the original's. ``tolerance``
    is the absolute tolerance for numbers in a JSON answer.
    """

    def check(ground: Ground) -> None:
        for name in names:
            answer = send(ground, name)
            for front_end in FRONT_ENDS:
                recorded = ground.recordings[front_end][name]["answer"]
                _compare(answer, recorded, text, tolerance)

    return check


def instead(
    *names: str, original: int | None, status: int, body: Any = None, text: str = ""
) -> Check:
    """Return a check of different answers: ``original`` (None: it died), and ours, ``status``.

    ``body`` is our JSON answer; ``text`` is a part of our error's text.
    """

    def check(ground: Ground) -> None:
        for name in names:
            for front_end in FRONT_ENDS:
                recorded = ground.recordings[front_end][name]["answer"]
                assert recorded.get("status") == original, f"{front_end} {name}"
            before = ground.server.workers()
            answer = send(ground, name)
            assert answer.status == status, (name, answer.body)
            if body is not None:
                assert_close(answer.json, body, FLOAT32)
            if text:
                assert text in page(answer.body.decode())[1]
            assert ground.server.workers() == before, "a worker died"

    return check


def send(ground: Ground, name: str) -> Answer:
    """Return our answer to a request of the table; the recorded request must be the same."""
    row = REQUESTS[name]
    for front_end in FRONT_ENDS:
        recorded = ground.recordings[front_end][name]["request"]
        assert recorded["path"] == row.path
        digest = hashlib.sha256(row.body or b"").hexdigest()
        assert recorded["body_sha256"] == digest, f"{name} changed: record again"
    return ground.server.request(row.method, row.path, row.body, row.headers)


def page(text: str) -> tuple[str, str]:
    """Return title and text of an error page."""
    found = _PAGE.fullmatch(text)
    assert found is not None, text
    assert found[1].endswith(found[2])
    return found[1], html.unescape(found[3])


def _compare(
    answer: Answer, recorded: Mapping[str, Any], text: str | None, tolerance: float
) -> None:
    assert answer.status == recorded["status"], answer.body
    ours = {name.lower(): value for name, value in answer.headers.items()}
    theirs = dict(recorded["headers"])
    for name in HEADERS:
        assert _plain(ours.get(name)) == _plain(theirs.get(name)), name
    if not recorded["body"]:
        assert answer.body == b""
    elif "json" in theirs["content-type"]:
        assert_close(answer.json, json.loads(recorded["body"]), tolerance)
        # Keys are sorted, and a newline ends the text; the spacing may differ.
        assert (
            answer.body
            == (json.dumps(answer.json, sort_keys=True, separators=(",", ":")) + "\n").encode()
        )
    else:
        (title, words), (their_title, their_words) = map(
            page, (answer.body.decode(), recorded["body"])
        )
        assert title == their_title
        assert words.startswith(text) if text is not None else words == their_words


def _plain(value: str | None) -> str | None:
    """Return a content type without its charset: the texts are ASCII, or binary."""
    return value.partition(";")[0] if value else value


def assert_close(ours: Any, theirs: Any, tolerance: float) -> None:
    """Compare JSON: numbers within the tolerance, and a text with a list as the list."""
    if isinstance(theirs, float) and isinstance(ours, float):
        assert ours == pytest.approx(theirs, abs=tolerance, rel=tolerance)
    elif isinstance(theirs, dict) and isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert_close(ours[key], value, tolerance)
    elif isinstance(theirs, list) and isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, tolerance)
    elif isinstance(theirs, str) and theirs.startswith("["):
        assert_close(ast.literal_eval(ours), ast.literal_eval(theirs), tolerance)
    else:
        assert ours == theirs
