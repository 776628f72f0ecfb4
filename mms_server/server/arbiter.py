"""Gunicorn's master (arbiter) for releases.

It adds to gunicorn's arbiter:

* the hook ``child_exit`` gets a worker's exit status and peak memory in ``worker.process_end``;
* workers that die again and again are restarted with growing waits;
* processes that a dead worker leaves behind are killed;
* the main loop feeds systemd's watchdog.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gunicorn import systemd
from gunicorn.app.base import BaseApplication
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from mms_server.config.model_settings import MOST_QUEUE
from mms_server.crashes.backoff import CrashBackoff
from mms_server.crashes.reporter import ProcessEnd
from mms_server.overload.backlog_limit import set_backlog

_SET_CHILD_SUBREAPER: Final = 36
_KILLED_WAIT_S: Final = 2.0
_RESEND_S: Final = 0.5
_KIB: Final = 1024
_PROC: Final = Path("/proc")


class Watchdog:
    """Feeds systemd's watchdog four times within its interval, if the unit has a watchdog."""

    def __init__(
        self,
        environ: Mapping[str, str],
        notify: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        text = environ.get("WATCHDOG_USEC", "")
        interval_us = int(text) if text.isascii() and text.isdigit() else 0
        self._period_s = interval_us / 1e6 / 4
        self._notify = notify
        self._clock = clock
        self._fed_at: float | None = None

    def feed(self) -> None:
        """Notify systemd that the main loop runs, if it is time to."""
        now = self._clock()
        if self._period_s and (self._fed_at is None or now - self._fed_at >= self._period_s):
            self._fed_at = now
            self._notify("WATCHDOG=1")


class StopRetryArbiter(Arbiter):  # type: ignore[misc]
    """A master that sends the stop signal to its workers again until they have ended.

    A worker that was just forked still has the master's signal handlers and ignores the signal.
    Without a resend, the stop would take the whole graceful timeout.
    """

    def __init__(self, app: Any) -> None:
        self._stop_signal: signal.Signals | None = None
        self._stop_sent_at = 0.0
        super().__init__(app)

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Stop the workers."""
        self._stop_signal = signal.SIGTERM if graceful else signal.SIGQUIT
        self._stop_sent_at = time.monotonic()
        super().stop(graceful)

    def reap_workers(self) -> None:
        """Reap ended children. Gunicorn calls it in a loop while the workers stop."""
        self.resend_stop()
        super().reap_workers()

    def resend_stop(self) -> None:
        """Send the stop signal again if the workers have not ended after 0.5 s."""
        if self._stop_signal and time.monotonic() - self._stop_sent_at > _RESEND_S:
            self._stop_sent_at = time.monotonic()
            self.kill_workers(self._stop_signal)


class ReleaseArbiter(StopRetryArbiter):
    """The master of one release.

    ``on_pause`` is called with the seconds for which no worker is started; 0 at the end of it.
    """

    on_pause: Callable[[float], None] = staticmethod(lambda _seconds: None)

    def __init__(self, app: Any) -> None:
        self._watchdog = Watchdog(os.environ, lambda text: systemd.sd_notify(text, self.log))
        self._backoff = CrashBackoff()
        super().__init__(app)

    def start(self) -> None:
        """Start as a child subreaper: the orphans of workers become children of this process."""
        # Otherwise they become children of systemd, and the master could not find them.
        ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        super().start()

    def wait_for_signals(self, timeout: float = 1.0) -> Any:
        """Feed the watchdog, then wait. The main loop calls this in each iteration."""
        self._watchdog.feed()
        return super().wait_for_signals(timeout)

    def spawn_workers(self) -> None:
        """Start missing workers, unless the wait after a crash still runs."""
        if not self._backoff.left(time.monotonic()):
            self.on_pause(0.0)
            super().spawn_workers()

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Stop the workers, and reap all of them."""
        # systemd keeps the socket open. During a restart, new connections wait in its backlog.
        sockets = [listener.sock.dup() for listener in self.LISTENERS]
        set_backlog(sockets, MOST_QUEUE)
        super().stop(graceful)
        # A worker may have set its own limit before it got the signal.
        set_backlog(sockets, MOST_QUEUE)
        for listening in sockets:
            listening.close()
        deadline = time.monotonic() + _KILLED_WAIT_S
        while self.WORKERS and time.monotonic() < deadline:
            self.reap_workers()
            time.sleep(0.02)

    def reap_workers(self) -> None:
        """Reap each child that has ended, and handle the exit of each worker.

        Raises:
            HaltServer: a worker could not load its model: another worker could not either.
        """
        # Gunicorn also calls it in a loop while the workers stop.
        self._watchdog.feed()
        self.resend_stop()
        halt = 0
        while (child := _reap_child()) is not None:
            pid, status, peak_bytes = child
            worker = self.WORKERS.pop(pid, None)
            if worker is None:
                continue
            halt = halt or self._handle_exit(worker, pid, status, peak_bytes)
        if halt:
            raise HaltServer("A worker could not load its model.", halt)

    def _handle_exit(self, worker: Any, pid: int, status: int, peak_bytes: int) -> int:
        """Call the hook of a worker's exit; return the exit code to halt with, 0 to go on."""
        lived_s = time.monotonic() - worker.started_at
        stopping = self._stop_signal is not None
        worker.process_end = ProcessEnd(
            pid, worker.slot, status, peak_bytes, lived_s, worker.aborted, stopping
        )
        worker.tmp.close()
        died = self.cfg.child_exit(self, worker)
        if died:
            self._backoff.died(time.monotonic(), lived_s)
            self.on_pause(self._backoff.left(time.monotonic()))
        self._kill_orphans()
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        return code if code in {self.WORKER_BOOT_ERROR, self.APP_LOAD_ERROR} else 0

    def _kill_orphans(self) -> None:
        """Kill processes that a worker has left behind: they may keep a connection open."""
        for child in set(children(os.getpid())) - set(self.WORKERS):
            self.log.warning("a worker left process %s behind: it is killed", child)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def children(parent: int, proc: Path = _PROC) -> Iterator[int]:
    """Yield the process ids of a process's children, from ``/proc/PID/stat``.

    The sandbox shows processes in ``/proc``, and little else of it.
    """
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may contain blanks and parentheses.
                stat = (entry / "stat").read_text("utf-8", "replace")
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                yield int(entry.name)


def _reap_child() -> tuple[int, int, int] | None:
    """Return process id, wait status and peak memory in bytes of an ended child; None if none."""
    try:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status, usage.ru_maxrss * _KIB) if pid else None


class _ArbiterRunner(BaseApplication):  # type: ignore[misc]
    """The base class whose ``run`` gunicorn's application calls after its preparations."""

    def run(self) -> None:
        """Run the master in this process."""
        ReleaseArbiter(self).run()


class ReleaseServer(WSGIApplication, _ArbiterRunner):  # type: ignore[misc]
    """Gunicorn's command line with the master of releases."""
