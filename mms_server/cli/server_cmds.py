"""The words of ``mxnet-model-server`` on a host: start, stop ... (compatibility.md, 4)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mms_server.cli import command_line
from mms_server.core import console
from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.deploy import service_control
from mms_server.deploy.host_context import Host
from mms_server.deploy.service_control import State
from mms_server.host.systemd import Systemd

_FAILED: Final = 1


def control(
    word: str,
    conf: Path | None,
    *,
    make_host: Callable[[], Host] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run one word; return the exit code: 0 or 1, for ``status`` see :class:`State`.

    ``conf`` is None for the configuration in use.
    """
    unknown = State.UNKNOWN if word == "status" else _FAILED
    # Workers and the control application run as other users, and read the written files.
    os.umask(0o022)
    try:
        return _ACTS[word]((make_host or _this_host)(), conf, environ)
    except MMSError as error:
        sys.stderr.write(f"ERROR: {error}\n")
    except OSError as error:
        sys.stderr.write(f"ERROR: {console.cause_of(error)} Fix: run it as root.\n")
    except KeyboardInterrupt:
        sys.stderr.write("ERROR: interrupted; what was begun was put back.\n")
        return console.INTERRUPTED
    return int(unknown)


def _start(host: Host, conf: Path | None, environ: Mapping[str, str]) -> int:
    found = service_control.check_condition(host)
    if found.state is State.RUNNING:
        sys.stderr.write(
            f"[{host.now():%a %b %d %H:%M:%S %Z %Y}] : mxnet-model-server : Process is already "
            f"running with PID {found.pid}, run mxnet-model-server stop or mxnet-model-server "
            "restart --mms-config=/path/to/config\n"
        )
        return _FAILED
    return _serve(host, conf, environ, service_control.serve)


def _restart(host: Host, conf: Path | None, environ: Mapping[str, str]) -> int:
    return _serve(host, conf, environ, service_control.restart)


def _serve(host: Host, conf: Path | None, environ: Mapping[str, str], act: _Serve) -> int:
    file = conf or service_control.default_conf(host, command_line.DEFAULT_CONF)
    sys.stdout.write(f"INFO: Reading file {file}\n")
    sys.stdout.flush()
    if not file.is_file() or not file.stat().st_size:
        sys.stderr.write(f"ERROR: No configuration file given... {file}\n")
        return _FAILED
    for warning in act(host, file, environ):
        sys.stderr.write(f"WARNING: {warning}\n")
    sys.stdout.write("INFO: Service started successfully.\n")
    return 0


def _stop(host: Host, _conf: Path | None, _environ: Mapping[str, str]) -> int:
    sys.stdout.write("Stopping MMS\n")
    sys.stdout.flush()
    service_control.stop(host)
    return 0


def _status(host: Host, _conf: Path | None, _environ: Mapping[str, str]) -> int:
    found = service_control.check_condition(host)
    lines = [f"mxnet-model-server is {found.state.name.lower()}"]
    lines += [f"nginx: {f'process {found.pid}' if found.pid else 'stopped'}"]
    lines += [f"{name}: {'stopped' if name in found.missing else 'up'}" for name in found.models]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(found.state)


def _this_host() -> Host:
    layout = Layout()
    values = command_line.read_settings(layout)
    return command_line.make_host(layout, values, Systemd(), console.reporter("INFO"))


_Serve = Callable[[Host, Path, Mapping[str, str]], tuple[str, ...]]
_ACTS: Final[Mapping[str, Callable[[Host, Path | None, Mapping[str, str]], int]]] = {
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "status": _status,
}
