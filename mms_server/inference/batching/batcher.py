"""Compute the requests that a worker has in flight together, in batches.

The engine never waits for a batch to fill: when it becomes free, all requests that were read by
then are the next batch. A request that fails in a batch does not fail the others. A request that a
process died on before is computed by itself, after the answers to all others have been sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import gevent
from gevent.event import Event

from mms_server.core.errors import (
    MMSError,
    PredictionError,
    PredictionTimeoutError,
    RefusedError,
)
from mms_server.inference.batching.batch_compute import BatchComputer
from mms_server.inference.batching.batch_delay import WaitForBatch, no_delay
from mms_server.inference.executor import FAILED, prediction_timeout
from mms_server.inference.scheduler import QueuedRequest, Scheduler
from mms_server.metrics import stage_timing

_DRAIN_S: Final = 1.0
_POLL_S: Final = 0.001

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Entry:
    """A request in the queue and its result; ``single`` if its inputs do not fit into a batch."""

    queued: QueuedRequest
    prepared: Any = None
    single: bool = False
    answer: Any = None
    error: BaseException | None = None
    done: Event = field(default_factory=Event)

    @property
    def batchable(self) -> bool:
        """Whether the request can be part of a batch, as far as is known before its preparation."""
        return self.queued.work.postprocess is not None and not self.queued.run_alone


class _BatchFailedError(Exception):
    """A batch failed as a whole."""


class Batcher(Scheduler):
    """A scheduler that computes waiting requests together; used from one event loop.

    ``in_flight_count`` returns how many requests the worker has accepted and not answered.
    ``wait_for_batch`` returns when the worker accepts no more requests for now.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        batch_computer: BatchComputer,
        in_flight_count: Callable[[], int],
        wait_for_batch: WaitForBatch = no_delay,
    ) -> None:
        super().__init__(
            scheduler.engine,
            scheduler.quarantine,
            scheduler.service_rate,
            scheduler.record_forward,
            scheduler.clock,
        )
        self._batch_computer = batch_computer
        self._in_flight_count = in_flight_count
        self._wait_for_batch = wait_for_batch
        self._waiting: list[_Entry] = []
        self._working = False
        self._current: _Entry | None = None

    def run(self, queued: QueuedRequest) -> Any:
        """Return the answer to a request: see :meth:`Scheduler.run`."""
        entry = _Entry(queued)
        self._waiting.append(entry)
        if not self._working:
            self._working = True
            # It runs when all requests that were accepted together have been read.
            gevent.spawn(self._work)
        limit_s = self.engine.timeout_s
        entry.done.wait(limit_s)
        if entry in self._waiting:
            self._waiting.remove(entry)
            raise prediction_timeout(limit_s)
        # The batch has a time limit of its own, which began later.
        if not entry.done.wait(limit_s + _DRAIN_S):
            raise prediction_timeout(limit_s)
        if entry.error is not None:
            raise entry.error
        return entry.answer

    def _work(self) -> None:
        try:
            self._wait_for_batch(lambda: len(self._waiting) >= self._in_flight_count())
            while self._waiting:
                batch = self._next_batch()
                if len(batch) > 1:
                    self._run_batch(batch)
                elif batch:
                    self._run_single(batch[0])
        finally:
            self._working = False

    def _next_batch(self) -> list[_Entry]:
        """Remove the requests of the next batch from the queue and return them."""
        harmless = [entry for entry in self._waiting if not entry.queued.run_alone]
        if harmless:
            batchable = [entry for entry in harmless if entry.batchable]
            first = harmless[0]
            batch = batchable[: self._batch_computer.max_batch] if first.batchable else [first]
        else:
            self._wait_for_others()
            batch = self._waiting[:1]
        self._waiting = [entry for entry in self._waiting if entry not in batch]
        return batch

    def _wait_for_others(self) -> None:
        """Wait, for a limited time, until only requests that may end the process are in flight."""
        deadline = self.clock() + _DRAIN_S
        while self._in_flight_count() > len(self._waiting) and self.clock() < deadline:
            gevent.sleep(_POLL_S)

    def _run_single(self, entry: _Entry) -> None:
        try:
            entry.answer, entry.error = super().run(entry.queued), None
        except MMSError as error:
            entry.error = error
        entry.done.set()

    def _run_batch(self, batch: Sequence[_Entry]) -> None:
        try:
            sizes = self.engine.run(partial(self._compute_batch, batch))
        except PredictionTimeoutError as error:
            self._give_up(batch, error)
            return
        except (PredictionError, RefusedError) as error:
            cause = error.__cause__ or error
            _log.warning("a batch of %d failed, each request is tried alone: %r", len(batch), cause)
            for entry in batch:
                self._run_single(entry)
            return
        for rows in sizes:
            self.record_forward(rows)
        for entry in batch:
            entry.done.set()

    def _give_up(self, batch: Sequence[_Entry], error: PredictionTimeoutError) -> None:
        """Fail the request that took too long; all requests if the whole batch took too long.

        The process ends with the first answer. The connections of the other requests break then,
        nginx sends them again, and they are computed one by one.
        """
        current = [entry for entry in batch if entry is self._current]
        for entry in current or batch:
            entry.error = error
            entry.done.set()

    def _compute_batch(self, batch: Sequence[_Entry]) -> list[int]:
        """Compute a batch, in the engine's thread; return the sizes of the forwards.

        Raises:
            Exception: the batch failed as a whole.
        """
        for entry in batch:
            _catch_error(entry, self._admit)
        active = [entry for entry in batch if entry.error is None]
        began = self.clock()
        with self.quarantine.computing(*(entry.queued.in_flight_entry for entry in active)):
            for entry in active:
                self._run_step(entry, self._prepare)
            single = [entry for entry in active if entry.error is None and entry.single]
            for entry in single:
                self._run_step(entry, self._compute_one)
            active = [entry for entry in active if entry.error is None and not entry.single]
            if active:
                outputs = self._forward(active)
                for entry, own in zip(active, outputs, strict=True):
                    self._run_step(entry, partial(_postprocess, own))
        self.service_rate.computed((self.clock() - began) / len(batch))
        return [1] * len(single) + [len(active)] * bool(active)

    def _run_step(self, entry: _Entry, step: Callable[[_Entry], None]) -> None:
        """Run a step of one request; ``_current`` names the request meanwhile, if it hangs."""
        self._current = entry
        with stage_timing.collecting(entry.queued.stages):
            _catch_error(entry, step)
        self._current = None

    @staticmethod
    def _admit(entry: _Entry) -> None:
        entry.queued.count_wait()
        entry.queued.check()

    def _prepare(self, entry: _Entry) -> None:
        entry.queued.count_wait()
        entry.prepared = self._batch_computer.prepare(entry.queued.work.inputs)
        entry.queued.skip_work()
        entry.single = not self._batch_computer.fits(entry.prepared)

    def _compute_one(self, entry: _Entry) -> None:
        entry.queued.count_wait()
        with stage_timing.stage(stage_timing.INFERENCE):
            outputs = self._batch_computer.compute_one(entry.prepared)
        _postprocess(outputs, entry)
        entry.queued.skip_work()

    def _forward(self, entries: Sequence[_Entry]) -> Sequence[Any]:
        """Return the outputs of each request.

        Raises:
            Exception: the batch failed as a whole.
        """
        for entry in entries:
            entry.queued.count_wait()
        began = self.clock()
        outputs = self._batch_computer.compute([entry.prepared for entry in entries])
        seconds = self.clock() - began
        for entry in entries:
            entry.queued.stages.add(stage_timing.INFERENCE, seconds)
            entry.prepared = None
        if len(outputs) != len(entries):
            raise _BatchFailedError(f"{len(entries)} requests have {len(outputs)} answers")
        return outputs


def _postprocess(outputs: Any, entry: _Entry) -> None:
    postprocess = entry.queued.work.postprocess
    entry.answer = postprocess(outputs) if postprocess else outputs


def _catch_error(entry: _Entry, step: Callable[[_Entry], None]) -> None:
    """Run a step; an error fails this request only."""
    try:
        step(entry)
    except RefusedError as error:
        entry.error = error
    except BaseException as error:  # noqa: BLE001 - a service that exits must not end the worker
        entry.error = PredictionError(FAILED)
        entry.error.__cause__ = error
