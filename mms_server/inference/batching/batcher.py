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
from mms_server.inference.batching.batch_delay import Gathered, no_delay
from mms_server.inference.executor import FAILED, prediction_timeout
from mms_server.inference.scheduler import QueuedRequest, Scheduler
from mms_server.metrics import stage_timing

_LEAVE_S: Final = 1.0
_LOOK_S: Final = 0.001

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Entry:
    """A request in the queue and its result; ``odd`` if its inputs do not fit into a batch."""

    queued: QueuedRequest
    prepared: Any = None
    odd: bool = False
    answer: Any = None
    error: BaseException | None = None
    done: Event = field(default_factory=Event)

    @property
    def joins(self) -> bool:
        """Whether the request can be part of a batch."""
        return self.queued.work.finish is not None and not self.queued.alone


class _BatchFailedError(Exception):
    """A batch failed as a whole."""


class Batcher(Scheduler):
    """A scheduler that computes waiting requests together; used from one event loop.

    ``in_hand`` returns how many requests the worker has accepted and not answered.
    ``wait_for_batch`` returns when the worker accepts no more requests for now.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        batch_computer: BatchComputer,
        in_hand: Callable[[], int],
        wait_for_batch: Gathered = no_delay,
    ) -> None:
        super().__init__(
            scheduler.engine,
            scheduler.quarantine,
            scheduler.service_rate,
            scheduler.computed,
            scheduler.clock,
        )
        self._batch_computer = batch_computer
        self._in_hand = in_hand
        self._wait_for_batch = wait_for_batch
        self._waiting: list[_Entry] = []
        self._works = False
        self._current: _Entry | None = None

    def run(self, queued: QueuedRequest) -> Any:
        """Return the answer to a request: see :meth:`Scheduler.run`."""
        entry = _Entry(queued)
        self._waiting.append(entry)
        if not self._works:
            self._works = True
            # It runs when all requests that were accepted together have been read.
            gevent.spawn(self._work)
        limit_s = self.engine.timeout_s
        entry.done.wait(limit_s)
        if entry in self._waiting:
            self._waiting.remove(entry)
            raise prediction_timeout(limit_s)
        # The batch has a time limit of its own, which began later.
        if not entry.done.wait(limit_s + _LEAVE_S):
            raise prediction_timeout(limit_s)
        if entry.error is not None:
            raise entry.error
        return entry.answer

    def _work(self) -> None:
        try:
            self._wait_for_batch(lambda: len(self._waiting) >= self._in_hand())
            while self._waiting:
                batch = self._next()
                if len(batch) > 1:
                    self._together(batch)
                elif batch:
                    self._by_itself(batch[0])
        finally:
            self._works = False

    def _next(self) -> list[_Entry]:
        """Remove the requests of the next batch from the queue and return them."""
        plain = [entry for entry in self._waiting if not entry.queued.alone]
        if plain:
            mates = [entry for entry in plain if entry.joins]
            chosen = mates[: self._batch_computer.most] if plain[0].joins else plain[:1]
        else:
            self._let_others_leave()
            chosen = self._waiting[:1]
        self._waiting = [entry for entry in self._waiting if entry not in chosen]
        return chosen

    def _let_others_leave(self) -> None:
        """Wait, for a limited time, until only requests that may end the process are in flight."""
        until = self.clock() + _LEAVE_S
        while self._in_hand() > len(self._waiting) and self.clock() < until:
            gevent.sleep(_LOOK_S)

    def _by_itself(self, entry: _Entry) -> None:
        try:
            entry.answer, entry.error = super().run(entry.queued), None
        except MMSError as error:
            entry.error = error
        entry.done.set()

    def _together(self, batch: Sequence[_Entry]) -> None:
        try:
            sizes = self.engine.run(partial(self._compute, batch))
        except PredictionTimeoutError as error:
            self._give_up(batch, error)
            return
        except (PredictionError, RefusedError) as error:
            cause = error.__cause__ or error
            _log.warning("a batch of %d failed, each request is tried alone: %r", len(batch), cause)
            for entry in batch:
                self._by_itself(entry)
            return
        for rows in sizes:
            self.computed(rows)
        for entry in batch:
            entry.done.set()

    def _give_up(self, batch: Sequence[_Entry], error: PredictionTimeoutError) -> None:
        """Fail the request that took too long; all requests if the whole batch took too long.

        The process ends with the first answer. The connections of the other requests break then,
        nginx sends them again, and they are computed one by one.
        """
        guilty = [entry for entry in batch if entry is self._current]
        for entry in guilty or batch:
            entry.error = error
            entry.done.set()

    def _compute(self, batch: Sequence[_Entry]) -> list[int]:
        """Compute a batch, in the engine's thread; return the sizes of the forwards.

        Raises:
            Exception: the batch failed as a whole.
        """
        for entry in batch:
            _step(entry, self._admit)
        going = [entry for entry in batch if entry.error is None]
        began = self.clock()
        with self.quarantine.computing(*(entry.queued.in_flight_entry for entry in going)):
            for entry in going:
                self._in_turn(entry, self._prepare)
            odd = [entry for entry in going if entry.error is None and entry.odd]
            for entry in odd:
                self._in_turn(entry, self._compute_one)
            going = [entry for entry in going if entry.error is None and not entry.odd]
            if going:
                outputs = self._forward(going)
                for entry, own in zip(going, outputs, strict=True):
                    self._in_turn(entry, partial(_finish, own))
        self.service_rate.computed((self.clock() - began) / len(batch))
        return [1] * len(odd) + [len(going)] * bool(going)

    def _in_turn(self, entry: _Entry, step: Callable[[_Entry], None]) -> None:
        """Do a step of one request; while it runs, ``_current`` names the request, if it hangs."""
        self._current = entry
        with stage_timing.collecting(entry.queued.taken):
            _step(entry, step)
        self._current = None

    @staticmethod
    def _admit(entry: _Entry) -> None:
        entry.queued.waited()
        entry.queued.check()

    def _prepare(self, entry: _Entry) -> None:
        entry.queued.waited()
        entry.prepared = self._batch_computer.prepare(entry.queued.work.inputs)
        entry.queued.worked()
        entry.odd = not self._batch_computer.fits(entry.prepared)

    def _compute_one(self, entry: _Entry) -> None:
        entry.queued.waited()
        with stage_timing.stage(stage_timing.INFERENCE):
            own = self._batch_computer.compute_one(entry.prepared)
        _finish(own, entry)
        entry.queued.worked()

    def _forward(self, going: Sequence[_Entry]) -> Sequence[Any]:
        for entry in going:
            entry.queued.waited()
        began = self.clock()
        outputs = self._batch_computer.compute([entry.prepared for entry in going])
        seconds = self.clock() - began
        for entry in going:
            entry.queued.taken.add(stage_timing.INFERENCE, seconds)
            entry.prepared = None
        if len(outputs) != len(going):
            raise _BatchFailedError(f"{len(going)} requests have {len(outputs)} answers")
        return outputs


def _finish(own: Any, entry: _Entry) -> None:
    finish = entry.queued.work.finish
    entry.answer = finish(own) if finish else own


def _step(entry: _Entry, step: Callable[[_Entry], None]) -> None:
    """Do a step; an error fails this request only."""
    try:
        step(entry)
    except RefusedError as error:
        entry.error = error
    except BaseException as error:  # noqa: BLE001 - a service that exits must not end the worker
        entry.error = PredictionError(FAILED)
        entry.error.__cause__ = error
