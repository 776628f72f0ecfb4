"""The devices that the workers of a release compute on (compatibility.md, 13).

``--gpu ID`` is one GPU for all workers. With ``--num-gpu N`` the worker in slot ``s`` takes GPU
``s mod N``; a worker that replaces a dead one has its slot and so its GPU. A process of its own
counts the GPUs with the engine, because a process that has used CUDA must not fork workers that use
it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mms_server.core import process
from mms_server.core.errors import ConfError, MMSError

if TYPE_CHECKING:
    # Importing mms_conf imports the socket module: the standalone server must let gevent patch it
    # first.
    from mms_server.config.mms_conf import MmsConf

SLOT_VARIABLE: Final = "MMS_WORKER_SLOT"
"""The environment variable with the slot of a worker that loads its model itself."""

_PROGRAM: Final = "import mxnet; print(mxnet.context.num_gpus())"
_COUNT_TIMEOUT_S: Final = 120.0
_FIX: Final = "install the GPU runtime and NVIDIA's driver, or write `optional` to use the CPU."

Count = Callable[[Path, Mapping[str, str]], int]
"""A function of a Python interpreter and a model's environment that returns the number of GPUs."""


@dataclass(frozen=True)
class Devices:
    """``gpu`` is one GPU for all workers, ``num_gpu`` the number that they share; else the CPU."""

    gpu: int | None = None
    num_gpu: int = 0
    warnings: tuple[str, ...] = ()


def choose(conf: MmsConf, python: Path, count: Count) -> Devices:
    """Return the devices that ``[MMS Arguments]`` asks for; only flags of GPUs count GPUs.

    Raises:
        ConfError: this host has fewer GPUs; names the line.
    """
    flag = next((name for name in ("--gpu", "--num-gpu") if name in conf.arguments), None)
    if flag is None:
        return _all(conf, python, count) if conf.all_gpus else Devices()
    text, line = conf.arguments[flag]
    try:
        require(flag, int(text), count(python, conf.environment))
    except MMSError as error:
        raise ConfError(conf.file, line, error.cause, fix=error.fix) from error
    return Devices(gpu=int(text)) if flag == "--gpu" else Devices(num_gpu=int(text))


def _all(conf: MmsConf, python: Path, count: Count) -> Devices:
    there = count(python, conf.environment)
    if there:
        return Devices(num_gpu=there)
    text = "--num-gpu is optional and there is no GPU: models run on the CPU."
    return Devices(warnings=(f"{conf.file}: {text}",))


def require(flag: str, value: int, there: int) -> None:
    """Check that there are enough GPUs for ``--gpu`` or ``--num-gpu``.

    Raises:
        MMSError: there are too few; says how many there are.
    """
    needed = value + 1 if flag == "--gpu" else value
    if needed <= there:
        return
    if not there:
        raise MMSError(f"{flag} {value}: there is no GPU here that MXNet can use.", fix=_FIX)
    fix = f"use 0 to {there - 1}." if flag == "--gpu" else f"use 1 to {there}, or `optional`."
    raise MMSError(f"{flag} {value}: the number of GPUs here is {there}.", fix=fix)


def device_of(slot: int, *, gpu: int | None, num_gpu: int) -> int | None:
    """Return the GPU of the worker in ``slot``, None for the CPU."""
    if gpu is not None:
        return gpu
    return slot % num_gpu if num_gpu else None


def count_gpus(python: Path, environment: Mapping[str, str]) -> int:
    """Return how many GPUs the engine of an interpreter sees; 0 for an engine without CUDA.

    Raises:
        MMSError: the engine fails, or does not answer in time.
    """
    try:
        command = [str(python), "-c", _PROGRAM]
        done = process.run(command, _COUNT_TIMEOUT_S, {**os.environ, **environment})
        return int(done.stdout)
    except ValueError as error:
        words = (done.stderr.strip() or "no answer").splitlines()[-1].rstrip(".")
        raise MMSError(f"the GPUs cannot be counted: {words}.", fix=_FIX) from error
    except subprocess.TimeoutExpired as error:
        cause = f"the GPUs were not counted within {_COUNT_TIMEOUT_S:.0f} s."
        raise MMSError(cause, fix="see `nvidia-smi` on the host.") from error
    except OSError as error:
        cause = f"the GPUs cannot be counted: {python}: {error.strerror}."
        raise MMSError(cause, fix="run the role mms_runtime.") from error
