"""``mxnet-model-server --models``: several models on one port, without systemd or nginx.

It is for trying models out (compatibility.md, 6); on hosts, systemd units serve models.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mms_server.archives.extract import check
from mms_server.cli.client_codegen import generate
from mms_server.cli.standalone.options import Options
from mms_server.config.devices import count_gpus, require
from mms_server.config.mms_args import METRICS, METRICS_SINKS, MODEL_NAME
from mms_server.core import console, log_setup
from mms_server.core.errors import MMSError
from mms_server.core.log_setup import Log, LogError
from mms_server.rest.mms04.swagger import describe

if TYPE_CHECKING:
    from mms_server.cli.standalone.models import ModelDirectories

_LOG_FILE = "mms_app.log"
_FAILED = 1
_LAST_PORT = 65535


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code: 2 for bad input, 1 if the start failed."""
    given = _parser().parse_args(argv)
    owner = os.getpid()
    # Until gunicorn handles the signals: end by an exception, so that the archives are removed.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    scratch = Path(tempfile.mkdtemp(prefix="mxnet-model-server-"))
    directories = _directories(scratch)
    try:
        options = Options(
            models=directories.take(_pairs(given.models)),
            service=given.service or "",
            host=given.host,
            port=given.port,
            workers=given.workers,
            log=_log(given),
            metrics_write_to=given.metrics_write_to,
            scratch=scratch,
            gpu=given.gpu,
            num_gpu=given.num_gpu or 0,
        )
        if given.gen_api is not None:
            return _generate(given.gen_api, options)
        _check_devices(options)
        return _serve(options)
    except LogError as error:
        text = f"Failed to initialize model serving: {error}"
        print(f"mxnet-model-server: {text}", file=sys.stderr)
        return _FAILED
    except MMSError as error:
        print(f"mxnet-model-server: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        text = f"Failed to start model serving host: {given.host}:{given.port}: {error.strerror}."
        fix = "Fix: give an address of this machine with --host and a free --port."
        print(f"mxnet-model-server: {text} {fix}", file=sys.stderr)
        return _FAILED
    finally:
        # A forked worker also gets here when it ends.
        if os.getpid() == owner:
            directories.remove()


def _generate(language: str, options: Options) -> int:
    """Write a client for the models into ``build/``, without loading them."""
    signatures = {name: check(directory)[1] for name, directory in options.models.items()}
    description = describe(options.host, options.port, signatures)
    file = generate(language, description, Path("build"))
    print(f"Wrote {file} and a client for {language} beside it.")
    return 0


def _directories(scratch: Path) -> ModelDirectories:
    # Before the modules that fetch archives import the network: their waits must be gevent's.
    from gevent import monkey  # noqa: PLC0415

    monkey.patch_all()
    from mms_server.cli.standalone.models import ModelDirectories  # noqa: PLC0415

    return ModelDirectories(scratch, _report)


def _serve(options: Options) -> int:
    from mms_server.cli.standalone.server import serve  # noqa: PLC0415

    return serve(options)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return endpoint name -> location; each pair is split at its first ``=``.

    Raises:
        MMSError: a pair is malformed, or a name is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, location = text.partition("=")
        if not equals or not location or not MODEL_NAME.fullmatch(name):
            raise MMSError(
                f"Failed to parse <model=path>: {text}.",
                fix="Format should be <model-name>=<model-path> (Local file path, URL, S3); a name "
                "has up to 64 letters, digits, '.', '_' and '-'.",
            )
        if name in pairs:
            raise MMSError(f"the name {name} is given twice.", fix="give each model its own name.")
        pairs[name] = location
    return pairs


def _report(text: str) -> None:
    print(f"mxnet-model-server: {text}", file=sys.stderr)


def _log(given: argparse.Namespace) -> Log:
    """Return the log settings.

    Raises:
        LogError: the level or the rotation is not valid.
    """
    level = given.log_level.upper()
    if level not in log_setup.LEVELS:
        fix = f"write one of {', '.join(log_setup.LEVELS)}."
        raise LogError(f"--log-level {given.log_level} is not a level.", fix=fix)
    log_setup.parse_rotation(given.log_rotation_time)
    return Log(level, str(Path(given.log_file).absolute()), given.log_rotation_time)


def _check_devices(options: Options) -> None:
    if options.on_gpu:
        there = count_gpus(Path(sys.executable), {})
        if options.gpu is not None:
            require("--gpu", options.gpu, there)
        require("--num-gpu", options.num_gpu, there)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mxnet-model-server",
        description="Serve MXNet models over HTTP on one port, in the foreground.",
        epilog="See `mxnet-model-server help` for start, stop, restart and status of a host.",
    )
    console.add_version(parser)
    add = parser.add_argument
    places = list(METRICS_SINKS.values())
    add("--models", nargs="+", required=True, metavar="NAME=PATH", help="the archives to serve")
    add(
        "--service",
        metavar="FILE",
        help="service file of all models, in place of the archives' own",
    )
    add("--port", type=_port, default=8080, help="port to listen on (default: %(default)s)")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--workers", type=_workers, default=1, help="worker processes (default: %(default)s)")
    add(
        "--log-level",
        metavar="LEVEL",
        default=log_setup.DEFAULT_LEVEL,
        help=f"lowest level that is logged: {', '.join(log_setup.LEVELS)} (default: %(default)s)",
    )
    add("--log-file", metavar="FILE", default=_LOG_FILE, help="log file (default: %(default)s)")
    add(
        "--log-rotation-time",
        metavar='"N W"',
        default=log_setup.DEFAULT_ROTATION,
        help="time of rotation: W is S M H D W0-W6 midnight, N may be left out; "
        f"{log_setup.DEFAULT_KEPT} old files stay (default: %(default)s)",
    )
    add(
        "--metrics-write-to",
        choices=METRICS,
        default=METRICS[0],
        help=f"{', '.join(places[:-1])} or {places[-1]}, every minute (default: %(default)s)",
    )
    add("--gen-api", metavar="LANGUAGE", help="write a client into build/ and do not serve")
    add("--gpu", type=_gpu, metavar="ID", help="the GPU that computes (default: the CPU)")
    add(
        "--num-gpu",
        type=_workers,
        metavar="N",
        help="number of GPUs, which the workers take in turn",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port: 1 to {_LAST_PORT}")
    return port


def _gpu(text: str) -> int:
    gpu = int(text)
    if gpu < 0:
        raise argparse.ArgumentTypeError(f"{text} is not the number of a GPU: 0 or more")
    return gpu


def _workers(text: str) -> int:
    workers = int(text)
    if workers < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return workers


if __name__ == "__main__":
    sys.exit(main())
