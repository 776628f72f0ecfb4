"""Gunicorn's configuration file for a release: the hooks, and all that is done before the fork."""

# ruff: noqa: E402 - gevent must patch the standard library before any import of it
from gevent import monkey

# Not the modules for child processes: gevent would reap the workers, and the master would not get
# their exit status.
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
    _counters = WorkerCounters(_layout.release_metrics(proc_name), [*_release.parts])
    _in_flight = InFlightLog(_instance_files.in_flight)
    _worker_load = WorkerLoad(_instance_files.worker_load, _release.workers)
except MMSError as error:
    # Gunicorn would print a traceback. The journal must end with the cause and the fix.
    print(f"{COMMAND}: {error}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(error.exit_code)

_in_flight.clear()
_worker_load.clear()
_crash_reporter = CrashReporter(_instance_files, proc_name, _in_flight, Cgroup.current(), time.time)
# Before the model is loaded: a crash in the load also leaves its stacks.
_stack = stack_dumps.opened(_instance_files, "master")
if _stack is not None:
    stack_dumps.start(_stack)
if start_history.read(_instance_files.starts).failures:
    _counters.master_died()


def on_starting(server: Any) -> None:
    """Record until when the master waits before it starts a worker."""
    server.on_pause = lambda seconds: _crash_reporter.pause_until(
        time.time() + seconds if seconds else 0
    )


# The control application reads a release's files by their group. A model's code may have changed
# the umask.
_UMASK = 0o007


def when_ready(_server: Any) -> None:
    """Lock the master's slot: the lock shows that the process is alive."""
    os.umask(_UMASK)
    process_liveness.lock_slot(_alive_file, process_liveness.MASTER_SLOT)
    start_history.note_ready(_instance_files.starts)


def pre_fork(server: Any, worker: Any) -> None:
    """Set the worker's slot; the fork inherits ``worker.slot``."""
    worker.slot = _slots.take(worker.age)
    worker.started_at = time.monotonic()
    _counters.pre_fork(server, worker)


def post_fork(_server: Any, worker: Any) -> None:
    """Count under the worker's slot, and export it: it selects the GPU of a worker."""
    os.umask(_UMASK)
    _counters.post_fork(worker)
    os.environ[SLOT_VARIABLE] = str(worker.slot)
    worker.stack = stack_dumps.opened(_instance_files, str(worker.slot))


def worker_abort(worker: Any) -> None:
    """Dump the Python stacks of a worker that hangs."""
    if worker.stack is not None:
        stack_dumps.now(worker.stack)


def worker_exit(_server: Any, worker: Any) -> None:
    """Record that the worker ends by itself: a worker that crashes does not get here."""
    _in_flight.mark_ended(worker.slot)


def child_exit(_server: Any, worker: Any) -> bool:
    """Write a death certificate for an unexpected end, and free the worker's slot.

    Return whether the end was unexpected.
    """
    certificate = _crash_reporter.died(worker.process_end)
    if certificate:
        _counters.died(certificate.cause)
    _counters.child_exit(worker)
    _worker_load.forget(worker.slot)
    _slots.free(worker.age)
    return certificate is not None


def on_exit(_server: Any) -> None:
    """Record that the master ends as requested."""
    start_history.note_end(_instance_files.starts)


def post_worker_init(worker: Any) -> None:
    """Lock the worker's slot: the lock shows that the process is alive."""
    os.umask(_UMASK)
    process_liveness.lock_slot(_alive_file, worker.age)
    # The master sets the largest backlog for a restart. It stays until a worker can answer.
    set_backlog(worker.sockets, _release.max_queue)
