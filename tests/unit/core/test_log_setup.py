"""A log file that several processes write: no line is lost, few old files stay (section 12)."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mms_server.config.mms_conf import parse
from mms_server.config.settings import Settings
from mms_server.core import log_setup
from mms_server.core.log_setup import Log, LogError
from mms_server.deploy import desired_state

_WRITER = """
import logging, logging.handlers, os, sys, time
from mms_server.core import log_setup
path, kind, seconds, kept = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
if kind == "ours":
    log_setup.set_up(log_setup.Log("INFO", path, "1 S", kept), log_setup.JOURNAL_FORMAT)
else:
    handler = logging.handlers.TimedRotatingFileHandler(path, "S", 1, kept)
    logging.basicConfig(level="INFO", handlers=[handler])
forked = [os.fork() for _ in range(2)]
number, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    logging.info("line %d of %d", number, os.getpid())
    number += 1
    time.sleep(0.001)
os.write(1, b"%d\\n" % number)
for child in forked:
    if child:
        os.waitpid(child, 0)
"""


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    yield
    for handler in set(root.handlers) - set(before[1]):
        handler.close()
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def written_by_many(directory: Path, kind: str, seconds: float, kept: int) -> tuple[int, set[str]]:
    """Return how many lines eight processes wrote, and the lines that are in the files."""
    words = [sys.executable, "-c", _WRITER, str(directory / "a.log"), kind, str(seconds), str(kept)]
    writers = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    output = "".join(writer.communicate(timeout=60)[0] for writer in writers)
    counts = [int(line) for line in output.splitlines()]
    assert len(counts) == 8
    files = [path for path in directory.iterdir() if path.name.startswith("a.log")]
    text = "".join(path.read_text() for path in files)
    return sum(counts), set(re.findall(r"line \d+ of \d+", text))


@pytest.mark.slow
def test_a_rotation_loses_no_line(tmp_path: Path) -> None:
    count, found = written_by_many(tmp_path, "ours", 3.2, 100)
    rotated = [path.name for path in tmp_path.iterdir() if path.name.startswith("a.log.")]
    assert len(rotated) >= 2
    assert all(re.fullmatch(r"a\.log\.\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", name) for name in rotated)
    assert len(found) == count > 1000


@pytest.mark.slow
def test_the_plain_handler_does_lose_lines(tmp_path: Path) -> None:
    count, found = written_by_many(tmp_path, "plain", 3.2, 100)
    assert len(found) < count


@pytest.mark.slow
@pytest.mark.parametrize("kept", [1, 2])
def test_only_so_many_old_files_stay(tmp_path: Path, kept: int) -> None:
    written_by_many(tmp_path, "ours", 4.2, kept)
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("a.log.")]) == kept


def test_the_form_of_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_setup.set_up(Log("INFO", str(tmp_path / "new" / "a.log")), log_setup.JOURNAL_FORMAT)
    logging.getLogger("mms.x").info("hello")
    logging.getLogger("mms.x").debug("unheard")
    (line,) = (tmp_path / "new" / "a.log").read_text().splitlines()
    form = r"\[INFO \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} PID:(\d+) (\S+):(\w+):(\d+)\] hello"
    found = re.fullmatch(form, line)
    assert found is not None
    assert int(found[1]) == os.getpid()
    assert found[2].endswith("test_log_setup.py")
    assert found[3] == "test_the_form_of_a_line"
    assert capsys.readouterr().err == "INFO mms.x: hello\n"


@pytest.mark.parametrize(("level", "count"), [("NOTSET", 5), ("WARNING", 3), ("CRITICAL", 1)])
def test_levels(tmp_path: Path, level: str, count: int) -> None:
    log_setup.set_up(Log(level, str(tmp_path / "a.log")), log_setup.JOURNAL_FORMAT)
    for number in (10, 20, 30, 40, 50):
        logging.getLogger().log(number, "x")
    assert len((tmp_path / "a.log").read_text().splitlines()) == count


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 H", (1, "H")),
        ("H", (1, "H")),
        ("30  m", (30, "M")),
        ("w6", (1, "W6")),
        ("midnight", (1, "MIDNIGHT")),
        ("2 D", (2, "D")),
        ("999999 S", (999999, "S")),
    ],
)
def test_rotations(text: str, found: tuple[int, str]) -> None:
    assert log_setup.parse_rotation(text) == found


@pytest.mark.parametrize("text", ["", "0 H", "1000000 S", "1H", "W7", "1 Y", "-1 H", "1 H 2"])
def test_rotations_that_are_not_understood(text: str) -> None:
    with pytest.raises(LogError, match="is not a time of rotation") as caught:
        log_setup.parse_rotation(text)
    assert caught.value.fix


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="cannot be written: File exists"):
        log_setup.set_up(Log("INFO", str(tmp_path / "file" / "a.log")), log_setup.JOURNAL_FORMAT)


_CONF = "[MMS Arguments]\n--models\nm=/a.model\n"
_ROOT = Path("/var/log/mms")


def log_of(rest: str) -> Log:
    return desired_state.log_of(
        parse(_CONF + rest, Path("mms.conf")), Settings(log_files_kept=7), _ROOT
    )[0]


def test_the_log_that_mms_conf_asks_for() -> None:
    assert log_of("") == Log()
    assert log_of("--log-level\ndebug\n") == Log("DEBUG")
    assert log_of("--log-rotation-time\n2 D\n") == Log()
    file = str(_ROOT / "mms_app.log")
    assert log_of("--log-file\nmms_app.log\n") == Log("INFO", file, "1 H", 7)
    turns = "--log-rotation-time\nmidnight\n"
    assert log_of(f"--log-file\n{file}\n{turns}") == Log("INFO", file, "midnight", 7)
    assert log_of("--log-file\nsub/../a.log\n").file == str(_ROOT / "a.log")


@pytest.mark.parametrize("file", ["/srv/a.log", "../a.log", "/var/log/mms", "/var/log/mmsx/a", "."])
def test_a_log_file_elsewhere_is_moved_to_where_units_can_write(file: str) -> None:
    conf = parse(f"{_CONF}--log-level\nINFO\n--log-file\n{file}\n", Path("mms.conf"))
    log, (warning,) = desired_state.log_of(conf, Settings(), _ROOT)
    assert Path(log.file).parent == _ROOT
    assert warning == f"mms.conf:7: --log-file {file} is not below {_ROOT}: it is {log.file}."
