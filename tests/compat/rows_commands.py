"""Rows about the commands (compatibility.md, 6 and 9): flags, refusals, exit codes."""

from __future__ import annotations

import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from mms.export_model import export_model
from mms_server.archives.extract import unpack
from mms_server.inference.model_loader import load_model
from tests.compat.record.commands import prepare
from tests.compat.rows import Ground, beyond, fixed, kept
from tests.fixtures import servers

_BIN = Path(sys.executable).parent
_ARCHIVES = Path(__file__).parent / "archives"
_WAIT_S = 60.0


def run(name: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the recorded table with the programs of mms-hosts."""
    words = prepare(name, directory, _ARCHIVES)
    return _command(words, directory)


def _command(words: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(_BIN / words[0]), *words[1:]],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=_WAIT_S,
        check=False,
    )


def refused(name: str, words: str, *, code: int | None = None) -> Callable[[Ground], None]:
    """Return a check that both programs refuse: with ``words`` in the errors, and exit ``code``."""

    def check(ground: Ground) -> None:
        recorded = ground.recordings["commands"][name]
        assert recorded["exit_code"]
        assert words in str(recorded["error"])
        done = run(name, ground.directory / name)
        assert done.returncode > 0
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        if code is not None:
            assert done.returncode == recorded["exit_code"] == code

    return check


def _exports(name: str) -> Callable[[Ground], None]:
    def check(ground: Ground) -> None:
        assert ground.recordings["commands"][name] == {
            "exit_code": 0,
            "error": "",
            "archives": ["m.model"],
        }
        done = run(name, ground.directory / name)
        assert done.returncode == 0, done.stderr
        assert zipfile.is_zipfile(ground.directory / name / "m.model")
        assert "Successfully exported model m to file" in done.stdout + done.stderr

    return check


def _flags(ground: Ground) -> None:
    shown = _command(["mxnet-model-server", "--help"], ground.directory).stdout
    for flag in (
        "--models",
        "--service",
        "--gen-api",
        "--port",
        "--host",
        "--gpu",
        "--log-file",
        "--log-rotation-time",
        "--log-level",
        "--metrics-write-to",
    ):
        assert flag in shown, flag
    assert "8080" in shown
    assert "127.0.0.1" in shown


def _port_in_use(ground: Ground) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["mxnet-model-server", "--models", f"m={ground.archives['single']}"]
        done = _command([*words, f"--port={taken.getsockname()[1]}"], ground.directory)
    assert done.returncode == 1
    assert "Failed to start model serving host" in done.stderr
    assert "Address already in use" in done.stderr


def _start_up_lines(ground: Ground) -> None:
    log = ground.server.log.read_text()
    for line in (
        "Initialized model serving.",
        "Adding endpoint: single_predict to Flask",
        "Adding endpoint: ping to Flask",
        "Service started successfully.",
        f"Service description endpoint: 127.0.0.1:{ground.server.place}/api-description",
        f"Service health endpoint: 127.0.0.1:{ground.server.place}/ping",
    ):
        assert line in log, line


def _one_bad_model(ground: Ground) -> None:
    good = ground.archives["single"]
    words = ["mxnet-model-server", "--models", f"good={good}", "bad=nowhere.model"]
    assert _command(words, ground.directory).returncode > 0


def _service_flag(ground: Ground) -> None:
    own = ground.directory / "own_service.py"
    own.write_text(
        "from mms.model_service.mxnet_model_service import MXNetBaseService\n"
        "class Own(MXNetBaseService):\n"
        "    def _postprocess(self, data):\n"
        "        return 'mine'\n"
    )
    models = {name: ground.archives[name] for name in ("single", "custom")}
    with servers.standalone(ground.directory, models, f"--service={own}") as server:
        for name in models:
            answer = server.predict(name, {"x": b"[[1, 2, 3]]"})
            assert answer.json == {"prediction": "mine"}


def _no_models(ground: Ground) -> None:
    assert ground.recordings["commands"]["serve_nothing"]["exit_code"] == 2
    assert _command(["mxnet-model-server", "--port", "8080"], ground.directory).returncode == 2
    bare = _command(["mxnet-model-server"], ground.directory)
    assert bare.returncode == 1
    assert "--models" in bare.stderr


def _source(ground: Ground) -> Path:
    directory = ground.directory / "single"
    unpack(ground.archives["single"], directory)
    (directory / "numbers_service.py").unlink()
    return directory


def _default_service(ground: Ground) -> None:
    target = ground.directory / "default.model"
    export_model("single", str(_source(ground)), export_file=str(target))
    unpack(target, ground.directory / "default")
    loaded = load_model("m", ground.directory / "default")
    assert len(loaded.service.inference([[[1, 2, 3]]])) == 1


def _reproducible(ground: Ground) -> None:
    source = _source(ground)
    targets = [ground.directory / f"{number}.model" for number in range(2)]
    for target in targets:
        export_model("single", str(source), None, str(target))
    assert targets[0].read_bytes() == targets[1].read_bytes()


def _entry_point(ground: Ground) -> None:
    target = ground.directory / "any.model"
    export_model("single", str(_source(ground)), service_file=None, export_file=str(target))
    assert zipfile.is_zipfile(target)


SERVER = (
    kept("6", "The standalone server has all flags of 0.4, with the same defaults.", _flags),
    fixed(
        "6",
        "A command line without --models exits with 2.",
        "Exit 2 with other flags; without flags, the usage and exit 1, as the control script.",
        _no_models,
    ),
    kept(
        "6",
        "A pair without = is refused; the error shows the format of a pair.",
        refused("serve_no_pair", "Format should be <model-name>=<model-path>"),
    ),
    kept(
        "6",
        "A missing archive is refused; the error names it.",
        refused("serve_missing", "nowhere.model"),
    ),
    kept(
        "8.5",
        "An ONNX file is refused; the error names the command that converts it.",
        refused("serve_onnx", "Convert ONNX model using mxnet-model-export before serving."),
    ),
    kept("6", "An unknown --log-level is refused.", refused("serve_level", "INFO")),
    kept(
        "6",
        "An unknown --metrics-write-to exits with 2.",
        refused("serve_metrics", "invalid choice: 'x'", code=2),
    ),
    kept(
        "10",
        "A service file must define exactly one leaf class.",
        refused(
            "serve_two_services",
            "There should be one user defined service derived from ModelService.",
        ),
    ),
    kept("6", "--service overrides the service of every archive.", _service_flag),
    kept("6", "The server logs the lines of 0.4 at its start.", _start_up_lines),
    kept("14", "One bad model stops the standalone server.", _one_bad_model),
    fixed(
        "6",
        "A port in use is reported on macOS only.",
        "It is reported, with exit code 1.",
        _port_in_use,
    ),
)

EXPORTER = (
    kept(
        "9",
        "--model-name and --model-path write <name>.model into the current directory.",
        _exports("export"),
    ),
    kept(
        "9", "--service-file-path may be abbreviated, as --service.", _exports("export_abbreviated")
    ),
    kept(
        "9",
        "An existing archive is not overwritten.",
        refused("export_exists", "already exists."),
    ),
    kept(
        "9",
        "A directory without a model is refused.",
        refused("export_nothing", "No model files found"),
    ),
    kept(
        "9",
        "A symbol without parameters is refused.",
        refused("export_no_params", "Incomplete MXNet model"),
    ),
    kept(
        "9",
        "Parameters without a symbol are refused.",
        refused("export_no_symbol", "Incomplete MXNet model"),
    ),
    kept(
        "9",
        "Two parameter files are refused.",
        refused("export_two_params", "mxnet-model-export expects only one .params file"),
    ),
    kept(
        "9", "Symbol and parameters must have the same prefix.", refused("export_prefix", "param")
    ),
    kept(
        "9",
        "The name of the parameters file must contain an epoch.",
        refused("export_epoch", "epoch"),
    ),
    kept(
        "9",
        "A directory with ONNX and MXNet files is refused.",
        refused("export_onnx_too", "More than one model type"),
    ),
    kept(
        "9",
        "A missing signature.json is refused.",
        refused("export_no_signature", "signature.json is not found in"),
    ),
    kept(
        "9",
        "A signature without input_type and output_type is refused.",
        refused("export_no_input_type", "signature"),
    ),
    kept(
        "9",
        "A type other than image/jpeg and application/json is refused.",
        refused("export_wrong_type", "a/b"),
    ),
    kept("9", "A missing service file is refused.", refused("export_no_service", "none.py")),
    kept(
        "9",
        "A service file without a service class is refused.",
        refused("export_no_class", "derived from"),
    ),
    kept("9", "mms.export_model.export_model is the Python entry point.", _entry_point),
    fixed(
        "9",
        "An archive with the default service for application/json cannot be served.",
        "It can be served.",
        _default_service,
    ),
    beyond("9", "The same directory gives an archive with the same bytes.", _reproducible),
)

ROWS = (*SERVER, *EXPORTER)
