"""Gunicorn's configuration for a release: what its command line cannot say."""

# ruff: noqa: E402 - gevent must replace the standard library before anything imports it
from gevent import monkey

# Not what has to do with children: gevent would reap them, and the master learn less of their ends.
monkey.patch_all(os=False, signal=False, subprocess=False)

import os
import sys
import time
from typing import Any

from mms_server.config.devices import SLOT_VARIABLE
from mms_server.core import log_setup
from mms_server.core.errors import MMSError
from mms_server.crashes import stack_dumps, start_history
from mms_server.crashes.in_flight_log import InFlightLog
from mms_server.crashes.reporter import CrashReporter
from mms_server.host import process_liveness
from mms_server.host.cgroup import Cgroup
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.worker_slots import WorkerSlots
from mms_server.overload.backlog_limit import set_backlog
from mms_server.overload.worker_load import WorkerLoad
from mms_server.server.release_launcher import COMMAND, RELEASE_VARIABLE, layout_of, read_release
from mms_server.server.worker_counters import WorkerCounters

proc_name = os.environ[RELEASE_VARIABLE]
_layout = layout_of(os.environ)
_instance_files = InstanceFiles(_layout.instance(proc_name))
_slots = WorkerSlots()
_alive_file = _layout.alive_file(proc_name)

try:
    _release = read_release(_layout, proc_name)
    log_setup.set_up(_release.log, log_setup.JOURNAL_FORMAT)
    _instance_files.prepare()
    _files = WorkerCounters(_layout.release_metrics(proc_name), [*_release.parts])
    _in_flight = InFlightLog(_instance_files.in_flight)
    _worker_load = WorkerLoad(_instance_files.worker_load, _release.workers)
except MMSError as error:
    # Gunicorn would print a traceback; the journal shall end with what is wrong and what to do.
    print(f"{COMMAND}: {error}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(error.exit_code)

_in_flight.clear()
_worker_load.clear()
_crash_reporter = CrashReporter(_instance_files, proc_name, _in_flight, Cgroup.current(), time.time)
# From here on: also a crash while the model is loaded leaves its stack.
_stack = stack_dumps.opened(_instance_files, "master")
if _stack is not None:
    stack_dumps.start(_stack)
if start_history.read(_instance_files.starts).failures:
    _files.master_died()


def on_starting(server: Any) -> None:
    """Let all know when the master waits before it starts a worker."""
    server.on_pause = lambda seconds: _crash_reporter.pause_until(
        time.time() + seconds if seconds else 0
    )


# Whoever looks at a release shares its group only: files that a model's code would close stay open.
_UMASK = 0o007


def when_ready(_server: Any) -> None:
    """Tell, by a lock that dies with the process, that the master is up."""
    os.umask(_UMASK)
    process_liveness.lock_slot(_alive_file, process_liveness.MASTER_SLOT)
    start_history.note_ready(_instance_files.starts)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker a slot: the fork takes it along as ``worker.slot``."""
    worker.slot = _slots.take(worker.age)
    worker.made = time.monotonic()
    _files.pre_fork(server, worker)


def post_fork(_server: Any, worker: Any) -> None:
    """Count under the worker's slot, and tell it: one on a GPU takes its device by it."""
    os.umask(_UMASK)
    _files.post_fork(worker)
    os.environ[SLOT_VARIABLE] = str(worker.slot)
    worker.stack = stack_dumps.opened(_instance_files, str(worker.slot))


def worker_abort(worker: Any) -> None:
    """Add what only the interpreter knows to the stacks of a worker that hangs."""
    if worker.stack is not None:
        stack_dumps.now(worker.stack)


def worker_exit(_server: Any, worker: Any) -> None:
    """Say that the worker ends by its own will: it got this far."""
    _in_flight.mark_ended(worker.slot)


def child_exit(_server: Any, worker: Any) -> bool:
    """Certify an end that was not expected; free the slot for a successor.

    Return whether there was something to certify.
    """
    certificate = _crash_reporter.died(worker.ended)
    if certificate:
        _files.died(certificate.cause)
    _files.child_exit(worker)
    _worker_load.forget(worker.slot)
    _slots.free(worker.age)
    return certificate is not None


def on_exit(_server: Any) -> None:
    """Note that the master ends as it was told to."""
    start_history.note_end(_instance_files.starts)


def post_worker_init(worker: Any) -> None:
    """Tell, by a lock that dies with the process, that this worker is up."""
    os.umask(_UMASK)
    process_liveness.lock_slot(_alive_file, worker.age)
    # Not before one can answer: a restart refuses nobody.
    set_backlog(worker.sockets, _release.max_queue)
