"""Gunicorn's master for releases: it knows how each worker ended, and shows systemd that it lives.

Beside gunicorn's own: a worker's hooks learn its exit status and peak memory (``worker.ended``);
workers that die again and again are started with growing waits; children that a dead worker leaves
behind are ended; and systemd's watchdog is fed from the main loop.
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
_TELL_AGAIN_S: Final = 0.5
_KIB: Final = 1024
_PROC: Final = Path("/proc")


class Watchdog:
    """Feeds systemd's watchdog, often enough and not more; fed by nobody if systemd asks not."""

    def __init__(
        self,
        environ: Mapping[str, str],
        notify: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        text = environ.get("WATCHDOG_USEC", "")
        usec = int(text) if text.isascii() and text.isdigit() else 0
        self._every_s = usec / 1e6 / 4
        self._notify = notify
        self._clock = clock
        self._fed: float | None = None

    def feed(self) -> None:
        """Tell systemd that the main loop runs."""
        now = self._clock()
        if self._every_s and (self._fed is None or now - self._fed >= self._every_s):
            self._fed = now
            self._notify("WATCHDOG=1")


class StopRetryArbiter(Arbiter):  # type: ignore[misc]
    """A master that tells its workers to stop until they have heard it.

    One that was just forked still has the master's handlers, and would make a stop last for the
    whole graceful timeout.
    """

    def __init__(self, app: Any) -> None:
        self._stop_signal: signal.Signals | None = None
        self._told_at = 0.0
        super().__init__(app)

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Stop the workers."""
        self._stop_signal = signal.SIGTERM if graceful else signal.SIGQUIT
        self._told_at = time.monotonic()
        super().stop(graceful)

    def reap_workers(self) -> None:
        """Take note of children that have ended; called in a loop while the workers are stopped."""
        self.resend_stop()
        super().reap_workers()

    def resend_stop(self) -> None:
        """Send the signal once more to workers that are to stop, if they had time to do so."""
        if self._stop_signal and time.monotonic() - self._told_at > _TELL_AGAIN_S:
            self._told_at = time.monotonic()
            self.kill_workers(self._stop_signal)


class ReleaseArbiter(StopRetryArbiter):
    """The master of one release.

    ``on_pause`` is called with the seconds for which no worker is started, 0 when they are again.
    """

    on_pause: Callable[[float], None] = staticmethod(lambda _seconds: None)

    def __init__(self, app: Any) -> None:
        self._watchdog = Watchdog(os.environ, lambda text: systemd.sd_notify(text, self.log))
        self._backoff = CrashBackoff()
        super().__init__(app)

    def start(self) -> None:
        """Start, as the one to whom the orphans of workers fall."""
        # Else they fall to systemd, and nobody here could find them.
        ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        super().start()

    def wait_for_signals(self, timeout: float = 1.0) -> Any:
        """Feed the watchdog, then wait: this is where each turn of the main loop comes by."""
        self._watchdog.feed()
        return super().wait_for_signals(timeout)

    def spawn_workers(self) -> None:
        """Start the workers that are missing, but not while those before them wait."""
        if not self._backoff.left(time.monotonic()):
            self.on_pause(0.0)
            super().spawn_workers()

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Stop the workers, and see all of them end."""
        # Who comes in a restart waits in the socket, which systemd holds.
        sockets = [row.sock.dup() for row in self.LISTENERS]
        set_backlog(sockets, MOST_QUEUE)
        super().stop(graceful)
        # A worker may have set its own limit before it heard of the end.
        set_backlog(sockets, MOST_QUEUE)
        for each in sockets:
            each.close()
        deadline = time.monotonic() + _KILLED_WAIT_S
        while self.WORKERS and time.monotonic() < deadline:
            self.reap_workers()
            time.sleep(0.02)

    def reap_workers(self) -> None:
        """Take note of each child that has ended, with how it ended.

        Raises:
            HaltServer: a worker could not load its model: a successor could not either.
        """
        # Also called in a loop while the workers are stopped.
        self._watchdog.feed()
        self.resend_stop()
        halt = 0
        while (found := _ended_child()) is not None:
            pid, status, peak_bytes = found
            worker = self.WORKERS.pop(pid, None)
            if worker is None:
                continue
            halt = halt or self._bury(worker, pid, status, peak_bytes)
        if halt:
            raise HaltServer("A worker could not load its model.", halt)

    def _bury(self, worker: Any, pid: int, status: int, peak_bytes: int) -> int:
        """Tell all who have to know; return the exit code with which to halt, 0 if not to."""
        lived_s = time.monotonic() - worker.made
        stopping = self._stop_signal is not None
        worker.ended = ProcessEnd(
            pid, worker.slot, status, peak_bytes, lived_s, worker.aborted, stopping
        )
        worker.tmp.close()
        died = self.cfg.child_exit(self, worker)
        if died:
            self._backoff.died(time.monotonic(), lived_s)
            self.on_pause(self._backoff.left(time.monotonic()))
        self._end_orphans()
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        return code if code in {self.WORKER_BOOT_ERROR, self.APP_LOAD_ERROR} else 0

    def _end_orphans(self) -> None:
        """End what a worker has left behind: it may hold the connection of a client."""
        for child in set(children(os.getpid())) - set(self.WORKERS):
            self.log.warning("a worker left process %s behind: it is ended", child)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def children(parent: int, proc: Path = _PROC) -> Iterator[int]:
    """Yield a process's children; a sandbox shows processes, and little else of /proc."""
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                # The name, in parentheses, may hold anything.
                stat = (entry / "stat").read_text("utf-8", "replace")
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                yield int(entry.name)


def _ended_child() -> tuple[int, int, int] | None:
    """Return process id, status and peak memory in bytes of a child that has ended."""
    try:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status, usage.ru_maxrss * _KIB) if pid else None


class _Runs(BaseApplication):  # type: ignore[misc]
    """What is run at the end of gunicorn's own preparations."""

    def run(self) -> None:
        """Become the master."""
        ReleaseArbiter(self).run()


class ReleaseServer(WSGIApplication, _Runs):  # type: ignore[misc]
    """Gunicorn's command line with the master of releases."""
