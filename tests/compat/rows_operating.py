"""Rows about operation: the control script, metrics, logs, GPUs and generated clients."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mms_server.config.devices import device_of
from mms_server.core import log_setup
from mms_server.metrics import mms04_metrics as metrics
from mms_server.metrics.minute_stats import Statistic
from mms_server.metrics.sinks import CsvSink
from tests.compat.rows import Ground, Row, beyond, fixed, kept

_COMMAND = Path(sys.executable).parent / "mxnet-model-server"
_UNITS: Mapping[str, tuple[str, ...]] = {
    "Count": ("PredictionTotal", "Prediction4XX", "Prediction5XX", "PingTotal"),
    "Milliseconds": (
        "LatencyOverall",
        "LatencyInference",
        "LatencyPreprocess",
        "LatencyPostprocess",
    ),
    "Percent": (
        "APIDescriptionTotal",
        "CPUUtilization",
        "MemoryUtilization",
        "DiskUtilization",
    ),
    "Megabytes": ("MemoryUsed", "MemoryAvailable"),
    "Gigabytes": ("DiskUsed", "DiskAvailable"),
}


def _run(name: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(name), *words], capture_output=True, text=True, timeout=60, check=False
    )


def _help(_ground: Ground) -> None:
    for words in (["help"], ["HELP"], ["--mms-config", "/x", "help"], ["Help", "--MMS-CONF", "/x"]):
        for name in (_COMMAND, _COMMAND.with_name("mxnet-model-server.sh")):
            done = _run(name, *words)
            assert (done.returncode, done.stderr) == (0, ""), words
            assert "start | stop | restart" in done.stdout


def _no_word(_ground: Ground) -> None:
    for words in ([], ["reload"], ["--mms-config", "/x"]):
        done = _run(_COMMAND, *words)
        assert done.returncode == 1, words
        assert done.stderr.startswith("Invalid options given")


def _names(_ground: Ground) -> None:
    wanted = {name: unit for unit, names in _UNITS.items() for name in names}
    assert dict(metrics.UNITS) == wanted


def _by_endpoint(ground: Ground) -> None:
    before = _answered(ground)
    assert ground.server.predict("single", {"x": b"[[1, 2, 3]]"}).status == 200
    assert _answered(ground) == before + 1


def _answered(ground: Ground) -> float:
    text = ground.server.request("GET", "/metrics").body.decode()
    pattern = r"^mms_prediction_seconds_count\{[^}]*model=\"single\"[^}]*\} ([0-9.e+]+)$"
    rows = text.splitlines()
    return sum(float(found[1]) for line in rows if (found := re.match(pattern, line)))


def _csv(ground: Ground) -> None:
    seen = Statistic.of(1.0) + Statistic.of(2.0)
    CsvSink(ground.directory).write([metrics.Record("PredictionTotal", "m", seen)], 1522605600.0)
    line = (ground.directory / "mms_PredictionTotal.csv").read_text()
    assert line == "2018-04-01 18:00:00Z,3\n"


def _rotation(_ground: Ground) -> None:
    for text, wanted in {
        "1 H": (1, "H"),
        "30 S": (30, "S"),
        "midnight": (1, "MIDNIGHT"),
        "2 W6": (2, "W6"),
    }.items():
        assert log_setup.parse_rotation(text) == wanted


def _line(ground: Ground) -> None:
    first = (ground.server.log.parent / "mms_app.log").read_text().splitlines()[0]
    assert re.match(r"\[INFO \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} PID:\d+ [^ ]+:\w+:\d+\] ", first)


def _no_bodies(ground: Ground) -> None:
    answer = ground.server.predict("single", {"x": b"[[1, 2, 3]]"})
    text = (ground.server.log.parent / "mms_app.log").read_text()
    assert json.dumps(answer.json["prediction"][0])[1:-1] not in text


def _round_robin(_ground: Ground) -> None:
    devices = [device_of(slot, gpu=None, num_gpu=2) for slot in range(5)]
    assert devices == [0, 1, 0, 1, 0]
    assert device_of(3, gpu=1, num_gpu=0) == 1
    assert device_of(3, gpu=None, num_gpu=0) is None


def _no_gpu(ground: Ground) -> None:
    model = f"m={ground.archives['single']}"
    done = _run(_COMMAND, "--models", model, "--gpu", "0")
    assert done.returncode == 2
    assert "GPU" in done.stderr
    assert "Fix:" in done.stderr


def _unknown_language(ground: Ground) -> None:
    model = f"m={ground.archives['single']}"
    done = subprocess.run(
        [str(_COMMAND), "--models", model, "--gen-api", "klingon"],
        cwd=ground.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "klingon" in done.stderr
    written = json.loads((ground.directory / "build/openapi.json").read_text())
    assert "/m/predict" in written["paths"]


ROWS: tuple[Row, ...] = (
    kept(
        "4.1",
        "Words and the flag are accepted in any order and any case; help exits with 0.",
        _help,
    ),
    fixed(
        "4.1",
        "Only --mms-config is accepted, and the name mxnet-model-server.sh is not.",
        "--mms-conf and --mms-config are accepted, with or without =, under both names.",
        _help,
    ),
    kept("4.5", "A missing or unknown word prints the usage and exits with 1.", _no_word),
    kept(
        "11",
        "All metrics have their units, including the wrong one of APIDescriptionTotal.",
        _names,
    ),
    fixed(
        "11",
        "Metrics are counted in each worker by Model-Name, and not summed.",
        "They are counted by endpoint name and summed over workers.",
        _by_endpoint,
    ),
    kept("11", "The CSV file is mms_<Metric>.csv, with a time and a value per line.", _csv),
    kept("12", 'A rotation time is "N W"; the number may be omitted.', _rotation),
    fixed("12", "The bracket at the start of a log line is not closed.", "It is closed.", _line),
    fixed("12", "Every answer is logged.", "No answer is logged.", _no_bodies),
    fixed(
        "13",
        "A respawned worker uses the next GPU.",
        "It uses the GPU of the dead worker's slot.",
        _round_robin,
    ),
    beyond("13", "--gpu on a machine without a GPU is refused before anything is loaded.", _no_gpu),
    kept("15", "--gen-api writes build/openapi.json.", _unknown_language),
)
