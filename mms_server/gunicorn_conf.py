"""Gunicorn's configuration for a release: what its command line cannot say."""

# ruff: noqa: E402 - gevent must replace the standard library before anything imports it
from gevent import monkey

monkey.patch_all()

import os
import sys
from typing import Any

from mms_server import liveness, logs
from mms_server.devices import SLOT_VARIABLE
from mms_server.errors import MMSError
from mms_server.prediction_metrics import WorkerFiles
from mms_server.slots import Slots
from mms_server.worker import RELEASE_VARIABLE, layout_of, read_release

proc_name = os.environ[RELEASE_VARIABLE]
_layout = layout_of(os.environ)
_slots = Slots()
_alive_file = _layout.alive_file(proc_name)

try:
    _release = read_release(_layout, proc_name)
    logs.set_up(_release.log, logs.JOURNAL)
    _files = WorkerFiles(_layout.counts(proc_name), [_release.model])
except MMSError as error:
    # Gunicorn would print a traceback; the journal shall end with what is wrong and what to do.
    print(f"mms_server.gunicorn_conf: {error}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(error.exit_code)


# Whoever looks at a release shares its group only: files that a model's code would close stay open.
_UMASK = 0o007


def when_ready(_server: Any) -> None:
    """Tell, by a lock that dies with the process, that the master is up."""
    os.umask(_UMASK)
    liveness.hold(_alive_file, liveness.MASTER_SLOT)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker a slot: the fork takes it along as ``worker.slot``."""
    worker.slot = _slots.take(worker.age)
    _files.pre_fork(server, worker)


def post_fork(_server: Any, worker: Any) -> None:
    """Count under the worker's slot, and tell it: one on a GPU takes its device by it."""
    os.umask(_UMASK)
    _files.post_fork(worker)
    os.environ[SLOT_VARIABLE] = str(worker.slot)


def child_exit(_server: Any, worker: Any) -> None:
    """Free the slot of a worker that has ended, for its successor."""
    _files.child_exit(worker)
    _slots.free(worker.age)


def post_worker_init(worker: Any) -> None:
    """Tell, by a lock that dies with the process, that this worker is up."""
    os.umask(_UMASK)
    liveness.hold(_alive_file, worker.age)
