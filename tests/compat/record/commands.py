"""Recording of the original's commands in wrong use: their errors and exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIGNATURE = {
    "inputs": [{"data_name": "x", "data_shape": [0, 3]}],
    "input_type": "application/json",
    "outputs": [{"data_name": "out", "data_shape": [0, 2]}],
    "output_type": "application/json",
}
# The first lines have the error; the rest is help.
_KEPT = 120
_EXPORT = ("mxnet-model-export", "--model-name", "m", "--model-path", "m")


@dataclass(frozen=True)
class Command:
    """The arguments of a command, and the ``files`` (content by name) of its directory."""

    words: Sequence[str]
    files: Mapping[str, bytes] = field(default_factory=dict)


def _model(*, without: Sequence[str] = (), **more: bytes) -> dict[str, bytes]:
    """Return a model directory ``m``; ``more`` adds or replaces files, dots written as ``__``."""
    files = {
        "m-symbol.json": b'{"nodes": [{"op": "null", "name": "x"}], "attrs": {}}',
        "m-0000.params": b"",
        "signature.json": json.dumps(SIGNATURE).encode(),
    }
    files |= {name.replace("__", ".").replace("_0", "-0"): data for name, data in more.items()}
    return {f"m/{name}": data for name, data in files.items() if name not in without}


def _signature(**changes: Any) -> bytes:
    return json.dumps({**SIGNATURE, **changes}).encode()


_SERVE = "mxnet-model-server"
COMMANDS: Mapping[str, Command] = {
    "serve_nothing": Command((_SERVE,)),
    "serve_no_pair": Command((_SERVE, "--models", "alone")),
    "serve_missing": Command((_SERVE, "--models", "m=nowhere.model")),
    "serve_onnx": Command((_SERVE, "--models", "m=m.onnx"), {"m.onnx": b""}),
    "serve_file_url": Command((_SERVE, "--models", "m=file://{directory}/single.model")),
    "serve_level": Command((_SERVE, "--models", "m=single.model", "--log-level", "LOUD")),
    "serve_metrics": Command((_SERVE, "--models", "m=nowhere.model", "--metrics-write-to", "x")),
    "serve_rotation": Command(
        (_SERVE, "--models", "m=single.model", "--log-rotation-time", "1 fortnight")
    ),
    "serve_two_services": Command(
        (_SERVE, "--models", "m=m"),
        {
            **_model(),
            "m/MANIFEST.json": json.dumps(
                {
                    "Engine": {"MXNet": "1.2.1"},
                    "Model-Archive-Version": 0.2,
                    "Model-Server": 0.4,
                    "Model": {
                        "Model-Name": "m",
                        "Model-Format": "MXNet-Symbolic",
                        "Service": "two.py",
                        "Signature": "signature.json",
                        "Symbol": "m-symbol.json",
                        "Parameters": "m-0000.params",
                    },
                }
            ).encode(),
            "m/two.py": (
                b"from mms.model_service.mxnet_model_service import MXNetBaseService\n"
                b"class One(MXNetBaseService): pass\n"
                b"class Two(MXNetBaseService): pass\n"
            ),
        },
    ),
    "export": Command(_EXPORT, _model()),
    "export_exists": Command(_EXPORT, {**_model(), "m.model": b""}),
    "export_no_directory": Command(_EXPORT),
    "export_nothing": Command(_EXPORT, _model(without=["m-symbol.json", "m-0000.params"])),
    "export_no_symbol": Command(_EXPORT, _model(without=["m-symbol.json"])),
    "export_no_params": Command(_EXPORT, _model(without=["m-0000.params"])),
    "export_two_params": Command(_EXPORT, _model(n_0000__params=b"")),
    "export_prefix": Command(_EXPORT, _model(without=["m-0000.params"], n_0000__params=b"")),
    "export_epoch": Command(_EXPORT, _model(without=["m-0000.params"], m__params=b"")),
    "export_onnx_too": Command(_EXPORT, _model(m__onnx=b"")),
    "export_no_signature": Command(_EXPORT, _model(without=["signature.json"])),
    "export_no_input_type": Command(
        _EXPORT, _model(signature__json=json.dumps({"inputs": [], "outputs": []}).encode())
    ),
    "export_wrong_type": Command(_EXPORT, _model(signature__json=_signature(input_type="a/b"))),
    "export_no_service": Command((*_EXPORT, "--service-file-path", "none.py"), _model()),
    "export_no_class": Command(
        (*_EXPORT, "--service-file-path", "plain.py"), {**_model(), "plain.py": b"VALUE = 1\n"}
    ),
    "export_abbreviated": Command(
        (*_EXPORT, "--service", "own.py"),
        {
            **_model(),
            "own.py": (
                b"from mms.model_service.mxnet_model_service import MXNetBaseService\n"
                b"class Own(MXNetBaseService): pass\n"
            ),
        },
    ),
}


def prepare(name: str, directory: Path, archives: Path) -> list[str]:
    """Write the files of a command into a new directory; return its arguments."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    command = COMMANDS[name]
    for path, data in command.files.items():
        (directory / path).parent.mkdir(exist_ok=True)
        (directory / path).write_bytes(data)
    if any("single.model" in word for word in command.words):
        shutil.copy(archives / "single.model", directory)
    return [word.replace("{directory}", str(directory)) for word in command.words]


def record(programs: Path, scratch: Path, archives: Path) -> dict[str, Any]:
    """Run every command with the original's programs."""
    return {name: _run(name, programs, scratch / name, archives) for name in COMMANDS}


def _run(name: str, programs: Path, directory: Path, archives: Path) -> dict[str, Any]:
    words = prepare(name, directory, archives)
    done = subprocess.run(
        [str(programs / words[0]), *words[1:]],
        cwd=directory,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).replace(str(directory), "DIR")
    made = sorted(path.name for path in directory.glob("m.model"))
    return {"exit_code": done.returncode, "error": _error(text), "archives": made}


def _error(text: str) -> str:
    """Return the text of an error: a traceback from its exception on, or the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    starts = [
        at for at, line in enumerate(lines) if re.match(r"[A-Za-z]+(Error|Exception): ", line)
    ]
    last = " ".join(lines[starts[-1] if starts else -1 :])
    # The log's prefix has the time, and paths of the installation.
    return re.sub(r"^\[(\w+) [^\]]*\] ", r"\1 ", last)[:_KEPT]
