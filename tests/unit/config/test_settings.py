"""One table of settings: its file, its texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.config.cpu_count import of_this_host, physical_cores
from mms_server.config.settings import Settings, as_markdown, as_toml, parse, read, rows
from mms_server.core.errors import ConfError

FILE = Path("mms.toml")


def test_no_file_is_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path / "mms.toml") == Settings()


def test_the_defaults_are_valid_and_their_text_is_read_back() -> None:
    assert parse(as_toml(Settings()), FILE) == Settings()
    assert parse("keep_warm_s = 86400\nmemory_reserve = 0\nallow_gap = true\n", FILE).allow_gap
    changed = Settings(workers=3, predict_timeout_s=1.5, runtime='/opt/"x"')
    assert parse(as_toml(changed), FILE) == changed


def test_every_row_is_documented() -> None:
    markdown = as_markdown(Settings())
    for row in rows():
        assert row.metadata["help"].endswith(".")
        assert f"| `{row.name}` |" in markdown
        if not isinstance(row.default, str):
            assert row.metadata["lowest"] <= row.default <= row.metadata["highest"]


def test_a_whole_number_may_stand_for_a_number() -> None:
    assert parse("predict_timeout_s = 5", FILE).predict_timeout_s == 5.0


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("# x\nwokers = 1\n", 2, "wokers is not a setting"),
        ("[workers]\nx = 1\n", 1, "workers must be a whole number"),
        ("workers = 'two'\n", 1, "workers must be a whole number, not 'two'"),
        ("workers = true\n", 1, "workers must be a whole number, not True"),
        ("workers = 1.0\n", 1, "workers must be a whole number"),
        ("workers = -1\n", 1, "workers = -1 is out of range"),
        ("predict_timeout_s = nan\n", 1, "out of range"),
        ("allow_gap = 1\n", 1, "allow_gap must be a truth value, not 1"),
        ("allow_gap = 'yes'\n", 1, "allow_gap must be a truth value"),
        ("keep_warm_s = 86401\n", 1, "keep_warm_s = 86401 is out of range"),
        ("memory_reserve = -1\n", 1, "memory_reserve = -1 is out of range"),
        ("runtime = 'opt'\n", 1, "runtime must be an absolute path"),
        ("workers = \n", 0, "is not TOML"),
    ],
)
def test_bad_files(text: str, line: int, cause: str) -> None:
    with pytest.raises(ConfError) as caught:
        parse(text, FILE)
    assert cause in caught.value.cause
    assert caught.value.line == line
    assert caught.value.fix


def _cpuinfo(*processors: tuple[int, int, int]) -> str:
    text = "processor\t: {}\nphysical id\t: {}\ncore id\t\t: {}\n\n"
    return "".join(text.format(*row) for row in processors)


@pytest.mark.parametrize(
    ("text", "allowed", "cores"),
    [
        (_cpuinfo((0, 0, 0), (1, 0, 1), (2, 0, 0), (3, 0, 1)), {0, 1, 2, 3}, 2),
        (_cpuinfo((0, 0, 0), (1, 0, 1), (2, 0, 0), (3, 0, 1)), {0, 2}, 1),
        (_cpuinfo((0, 0, 0), (1, 1, 0)), {0, 1}, 2),
        ("processor\t: 0\n\nprocessor\t: 1\n\n", {0, 1}, 2),
        ("processor : 0\nphysical id : 0\ncore id : 0\n\nprocessor : 1\n", {0, 1}, 2),
        ("", {0, 1, 2}, 3),
        ("", set(), 1),
        ("processor : x\n", {0}, 1),
    ],
    ids=["threads", "affinity", "sockets", "no topology", "half topology", "none", "zero", "odd"],
)
def test_physical_cores(text: str, allowed: set[int], cores: int) -> None:
    assert physical_cores(text, allowed) == cores


def test_this_host_has_a_core() -> None:
    assert of_this_host() >= 1
