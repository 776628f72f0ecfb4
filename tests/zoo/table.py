"""The animals: what each does, where it does it, and what has to become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

GOOD = 0
BAD = 1

SERVICE = """
import ctypes
import os
import signal
import sys
import time

from mms.model_service.mxnet_model_service import MXNetBaseService

{top}


class ZooService(MXNetBaseService):
    kept = []

    def __init__(self, model_name, model_dir, manifest, gpu=None):
        super().__init__(model_name, model_dir, manifest, gpu)
        if True:
            {load}

    def _inference(self, data):
        if float(data[0].asnumpy()[0, 0]) == 1:
            {predict}
        return super()._inference(data)

    def _postprocess(self, data):
        if not hasattr(data[0], "asnumpy"):
            return data
        return {{"order": data[0].asnumpy().tolist(), "pid": os.getpid()}}
"""


class Where(Enum):
    """The step in which an animal fails."""

    IMPORT = "import"
    LOAD = "load"
    WARM_UP = "warm-up"
    GOLDEN = "golden"
    PREDICT = "predict"
    IDLE = "idle"


class Outcome(Enum):
    """What has to become of it."""

    NEVER_READY = "the release does not get ready: no client's request reaches it"
    NOT_IN_TIME = "the release is given up after its start's time limit"
    WORKER_DIES = "its worker leaves one certificate; a successor answers the next request"
    MASTER_DIES = "the release leaves one certificate and is started again"
    ERROR = "the client gets an error, and the same worker goes on"
    ANSWERS = "the client gets its answer, and the release goes on"
    REPLACED = "the client gets its answer; its worker is replaced without a certificate"


@dataclass(frozen=True)
class Animal:
    """One archive. ``top``, ``load`` and ``predict`` are lines of its service file.

    ``whole`` is the service file instead of these. ``cause``, ``signal`` and ``exit_code`` are
    those of its certificate; ``status`` is the client's where only the worker answers.
    """

    where: Where
    outcome: Outcome
    top: str = ""
    load: str = ""
    predict: str = ""
    whole: str | None = None
    golden: Mapping[str, Any] | None = None
    nan_weight: bool = False
    cause: str = ""
    signal: str = ""
    exit_code: int | None = None
    status: int = 200
    limited: bool = False
    """Whether it needs a limit of memory, else it takes the machine's."""


_EAT = """
while True:
    self.kept.append(bytearray(b"x") * (32 * 1024 * 1024))
    time.sleep(0.01)
"""
_SEGV = "ctypes.string_at(0)"
_SLEEP_WITH_LOCK = "ctypes.PyDLL(None).sleep(3600)"
_FIFTH_DIGIT = {
    "format": 1,
    "samples": [
        {
            "inputs": [{"value": [[2.0]]}],
            "expected": {"order": [[2.0001]], "pid": 0},
            "tolerance": {"relative": 1e-6, "absolute": 1e-6},
        }
    ],
}
_PLAIN_ANSWER = """
from mms.model_service.mxnet_model_service import MXNetBaseService


class ZooService(MXNetBaseService):
    def _postprocess(self, data):
        return {"order": data[0].asnumpy().tolist(), "pid": 0}
"""


def _dies(predict: str, cause: str, name: str = "", exit_code: int | None = None) -> Animal:
    return Animal(
        Where.PREDICT,
        Outcome.WORKER_DIES,
        predict=predict,
        cause=cause,
        signal=name,
        exit_code=exit_code,
        status=502,
    )


def _answers(predict: str, top: str = "") -> Animal:
    return Animal(Where.PREDICT, Outcome.ANSWERS, top=top, predict=predict)


def _errs(predict: str) -> Animal:
    return Animal(Where.PREDICT, Outcome.ERROR, predict=predict, status=500)


ANIMALS: Mapping[str, Animal] = {
    "import-error": Animal(
        Where.IMPORT, Outcome.NEVER_READY, top="import no_such_module", cause="exit", exit_code=2
    ),
    "import-exit": Animal(
        Where.IMPORT, Outcome.NEVER_READY, top="sys.exit(0)", cause="exit", exit_code=2
    ),
    "no-handler": Animal(
        Where.IMPORT, Outcome.NEVER_READY, whole="x = 1\n", cause="exit", exit_code=2
    ),
    "load-exit": Animal(
        Where.LOAD, Outcome.NEVER_READY, load="sys.exit(0)", cause="exit", exit_code=2
    ),
    "load-segv": Animal(
        Where.LOAD, Outcome.NEVER_READY, load=_SEGV, cause="signal", signal="SIGSEGV"
    ),
    "load-late": Animal(
        Where.LOAD, Outcome.NOT_IN_TIME, load="time.sleep(3600)", cause="timeout", signal="SIGKILL"
    ),
    "load-eats-memory": Animal(
        Where.LOAD,
        Outcome.NEVER_READY,
        load=_EAT,
        cause="out-of-memory",
        signal="SIGKILL",
        limited=True,
    ),
    "nan-weights": Animal(
        Where.WARM_UP, Outcome.NEVER_READY, nan_weight=True, cause="exit", exit_code=2
    ),
    "golden-digit": Animal(
        Where.GOLDEN,
        Outcome.NEVER_READY,
        whole=_PLAIN_ANSWER,
        golden=_FIFTH_DIGIT,
        cause="exit",
        exit_code=2,
    ),
    "segv": _dies(_SEGV, "signal", "SIGSEGV"),
    "abort": _dies("os.abort()", "signal", "SIGABRT"),
    "quiet-exit": _dies("os._exit(0)", "exit", exit_code=0),
    "loud-exit": _dies("os._exit(7)", "exit", exit_code=7),
    "hang-with-lock": _dies(_SLEEP_WITH_LOCK, "hang", "SIGKILL"),
    "hang": Animal(
        Where.PREDICT,
        Outcome.WORKER_DIES,
        predict="time.sleep(3600)",
        cause="timeout",
        exit_code=0,
        status=504,
    ),
    "eats-memory": Animal(
        Where.PREDICT,
        Outcome.WORKER_DIES,
        predict=_EAT,
        cause="out-of-memory",
        signal="SIGKILL",
        status=502,
        limited=True,
    ),
    "kills-master": Animal(
        Where.PREDICT,
        Outcome.MASTER_DIES,
        predict="os.kill(os.getppid(), signal.SIGKILL)",
        cause="signal",
        signal="SIGKILL",
    ),
    "hangs-idle": Animal(
        Where.IDLE,
        Outcome.WORKER_DIES,
        predict="self.mx_model.forward = lambda *_a, **_k: time.sleep(3600)\n"
        "return ['the next forward hangs']",
        cause="hang",
        exit_code=1,
    ),
    "sys-exit": _errs("sys.exit(1)"),
    "raises": _errs("raise RuntimeError('secret words in /secret/path')"),
    "nan": _errs("return [float('nan')]"),
    "wrong-type": _errs("return [object()]"),
    "wrong-length": _errs("return []"),
    "huge-answer": _errs("return ['x' * 1024**3]"),
    "leak": Animal(
        Where.PREDICT,
        Outcome.REPLACED,
        predict="self.kept.append(bytearray(b'x') * (48 * 1024 * 1024))",
    ),
    "leaves-children": _answers(
        """
        for _ in range(8):
            if ctypes.PyDLL(None).fork() == 0:
                ctypes.CDLL(None).sleep(3600)
                os._exit(0)
        """.replace("\n        ", "\n")
    ),
    "ignores-sigterm": _answers("ctypes.CDLL(None).signal(15, ctypes.c_void_p(1))"),
    "prints-much": _answers("for _ in range(20_000): print('x' * 100, flush=False)"),
    "closes-descriptors": _answers("for number in (0, 1, 2): os.close(number)"),
    "changes-surroundings": _answers(
        """
        import locale
        os.chdir("/")
        os.umask(0o777)
        os.environ.clear()
        locale.setlocale(locale.LC_ALL, "C")
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            ctypes.CDLL(None).signal(int(number), ctypes.c_void_p(1))
        """.replace("\n        ", "\n")
    ),
    "slow-at-first": _answers("if not self.kept:\n    self.kept.append(True)\n    time.sleep(1.5)"),
}
