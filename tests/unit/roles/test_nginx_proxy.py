"""The frame of nginx.conf as the role writes it: headers, refusals, limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mms_server.core.refusals import NginxStage, of_nginx
from tests.bench.edge import write_template

HEADER = re.compile(r"add_header (\S+) (.*) always;")


def frame(tmp_path: Path, **variables: Any) -> str:
    target = tmp_path / "frame"
    write_template("nginx.conf.frame", target, variables)
    return target.read_text()


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Return the blocks of nginx.conf: what stands before the brace, and their own lines."""
    stack: list[tuple[str, list[str]]] = [("", [])]
    found = []
    for line in (row.strip() for row in text.splitlines()):
        if line.startswith("#"):
            continue
        if line.endswith("{"):
            stack.append((line[:-1].strip(), []))
        elif line == "}":
            found.append(stack.pop())
        else:
            stack[-1][1].append(line)
    assert len(stack) == 1
    return found


def headers(lines: list[str]) -> list[tuple[str, str]]:
    return [(row[1], row[2]) for line in lines if (row := HEADER.fullmatch(line))]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, list[str]]]:
    """The blocks with everything on."""
    text = frame(
        tmp_path_factory.mktemp("frame"),
        nginx_proxy_tls="self_signed",
        nginx_proxy_hsts_s=60,
        nginx_proxy_require_key=True,
        nginx_proxy_models=[{"name": "a", "rate": "1r/s"}, {"name": "b", "requests": 2}],
    )
    return blocks(text)


def test_every_block_with_headers_has_those_of_the_role_once(
    full: list[tuple[str, list[str]]],
) -> None:
    of_role = {
        ("X-Content-Type-Options", '"nosniff"'),
        ("X-Frame-Options", '"DENY"'),
        ("Referrer-Policy", '"no-referrer"'),
        ("Strict-Transport-Security", '"max-age=60"'),
        ("X-Request-Id", "$mms_request_id"),
    }
    with_headers = {name: headers(lines) for name, lines in full if headers(lines)}
    servers = [lines for name, lines in full if name == "server"]
    assert [set(headers(lines)) for lines in servers] == [of_role, of_role]
    assert len(with_headers) > 3
    for name, found in with_headers.items():
        assert of_role <= set(found), name
        assert len({row[0] for row in found}) == len(found), name


def test_without_tls_there_is_no_hsts(tmp_path: Path) -> None:
    assert "Strict-Transport-Security" not in frame(tmp_path, nginx_proxy_hsts_s=60)


def test_each_refusal_of_nginx_has_its_error_page(full: list[tuple[str, list[str]]]) -> None:
    names = {name for name, _lines in full}
    servers = [lines for name, lines in full if name == "server"]
    predictions = [lines for _name, lines in full if "root /run/mms/live;" in lines]
    assert len(predictions) > 10
    for stage, row in of_nginx():
        if stage is NginxStage.ADMISSION:
            assert "location @deadline_exceeded" in names
            continue
        assert f"location @error_{row.status}" in names
        for lines in predictions:
            assert any(line.startswith(f"error_page {row.status} = @") for line in lines)
        for lines in servers:
            page = f"error_page {row.status} = @error_{row.status};"
            assert (page in lines) == (stage is NginxStage.REQUEST)


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        ({"rate": "5r/s"}, "limit_req zone=mms_rate_a;"),
        ({"rate": "5r/s", "burst": 3}, "limit_req zone=mms_rate_a burst=3 nodelay;"),
        ({"requests": 3}, "limit_conn mms_requests_a 3;"),
    ],
)
def test_limits_of_a_model(tmp_path: Path, limits: dict[str, Any], line: str) -> None:
    text = frame(tmp_path, nginx_proxy_models=[{"name": "a", **limits}])
    assert f" {line}\n" in text
    assert "burst=0" not in text
