"""Bring the requests that a worker has in hand to its engine together.

The engine never waits: as soon as it is free, what is ready goes to it, and what is read meanwhile
goes next. A request that fails in a batch fails alone. One that a process died on before is
computed by itself, after the answers to all others have left.
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
    ClientGoneError,
    LateError,
    MMSError,
    PredictionError,
    PredictionTimeoutError,
)
from mms_server.inference.batching.batch_compute import Joint
from mms_server.inference.batching.batch_delay import Gathered, at_once
from mms_server.inference.executor import FAILED, late_after
from mms_server.inference.scheduler import Line, Ticket
from mms_server.metrics import stage_timing

_LEAVE_S: Final = 1.0
_LOOK_S: Final = 0.001

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Place:
    """A request in the queue and what became of it; ``odd`` if a batch could not compute it."""

    ticket: Ticket
    prepared: Any = None
    odd: bool = False
    answer: Any = None
    error: BaseException | None = None
    done: Event = field(default_factory=Event)

    @property
    def joins(self) -> bool:
        """Whether it can be part of a batch."""
        return self.ticket.work.finish is not None and not self.ticket.apart


class _Spoilt(Exception):  # noqa: N818 - it never leaves this module
    """A batch failed as a whole."""


class Batcher(Line):
    """A line in which requests that wait are computed together; used from one event loop.

    ``in_hand`` says how many requests the worker has taken and not answered; ``gathered`` returns
    when it takes no more for now.
    """

    def __init__(
        self,
        line: Line,
        joint: Joint,
        in_hand: Callable[[], int],
        gathered: Gathered = at_once,
    ) -> None:
        super().__init__(line.engine, line.guard, line.pace, line.computed, line.clock)
        self._joint = joint
        self._in_hand = in_hand
        self._gathered = gathered
        self._waiting: list[_Place] = []
        self._works = False
        self._current: _Place | None = None

    def run(self, ticket: Ticket) -> Any:
        """Return the answer to a request: see :meth:`Line.run`."""
        place = _Place(ticket)
        self._waiting.append(place)
        if not self._works:
            self._works = True
            # It begins when all requests that were taken together have been read.
            gevent.spawn(self._work)
        limit_s = self.engine.timeout_s
        place.done.wait(limit_s)
        if place in self._waiting:
            self._waiting.remove(place)
            raise late_after(limit_s)
        # Its batch has a limit of its own, which began later.
        if not place.done.wait(limit_s + _LEAVE_S):
            raise late_after(limit_s)
        if place.error is not None:
            raise place.error
        return place.answer

    def _work(self) -> None:
        try:
            self._gathered(lambda: len(self._waiting) >= self._in_hand())
            while self._waiting:
                batch = self._next()
                if len(batch) > 1:
                    self._together(batch)
                elif batch:
                    self._by_itself(batch[0])
        finally:
            self._works = False

    def _next(self) -> list[_Place]:
        """Take what is computed next out of the queue."""
        plain = [place for place in self._waiting if not place.ticket.apart]
        if plain:
            mates = [place for place in plain if place.joins]
            chosen = mates[: self._joint.most] if plain[0].joins else plain[:1]
        else:
            self._let_others_leave()
            chosen = self._waiting[:1]
        self._waiting = [place for place in self._waiting if place not in chosen]
        return chosen

    def _let_others_leave(self) -> None:
        """Wait, for a limited time, until only requests that may end the process are in hand."""
        until = self.clock() + _LEAVE_S
        while self._in_hand() > len(self._waiting) and self.clock() < until:
            gevent.sleep(_LOOK_S)

    def _by_itself(self, place: _Place) -> None:
        try:
            place.answer, place.error = super().run(place.ticket), None
        except MMSError as error:
            place.error = error
        place.done.set()

    def _together(self, batch: Sequence[_Place]) -> None:
        try:
            sizes = self.engine.run(partial(self._compute, batch))
        except PredictionTimeoutError as error:
            self._give_up(batch, error)
            return
        except PredictionError as error:
            cause = error.__cause__
            _log.warning("a batch of %d failed, each is tried alone: %r", len(batch), cause)
            for place in batch:
                self._by_itself(place)
            return
        for rows in sizes:
            self.computed(rows)
        for place in batch:
            place.done.set()

    def _give_up(self, batch: Sequence[_Place], error: PredictionTimeoutError) -> None:
        """Tell the request that took too long, all if it was none alone.

        The process ends with the first answer: the connections of the others break, and nginx sends
        them again, to be computed one by one.
        """
        guilty = [place for place in batch if place is self._current]
        for place in guilty or batch:
            place.error = error
            place.done.set()

    def _compute(self, batch: Sequence[_Place]) -> list[int]:
        """Compute a batch, in the engine's thread; return the sizes of the forwards.

        Raises:
            Exception: it failed as a whole.
        """
        for place in batch:
            _step(place, self._admit)
        going = [place for place in batch if place.error is None]
        began = self.clock()
        with self.guard.computing(*(place.ticket.flight for place in going)):
            for place in going:
                self._in_turn(place, self._prepare)
            odd = [place for place in going if place.error is None and place.odd]
            for place in odd:
                self._in_turn(place, self._compute_one)
            going = [place for place in going if place.error is None and not place.odd]
            if going:
                outputs = self._forward(going)
                for place, own in zip(going, outputs, strict=True):
                    self._in_turn(place, partial(_finish, own))
        self.pace.computed((self.clock() - began) / len(batch))
        return [1] * len(odd) + [len(going)] * bool(going)

    def _in_turn(self, place: _Place, step: Callable[[_Place], None]) -> None:
        """Do a step that is one request's own; if it hangs, it is known whose it was."""
        self._current = place
        with stage_timing.collecting(place.ticket.taken):
            _step(place, step)
        self._current = None

    @staticmethod
    def _admit(place: _Place) -> None:
        place.ticket.waited()
        place.ticket.check()

    def _prepare(self, place: _Place) -> None:
        place.ticket.waited()
        place.prepared = self._joint.prepare(place.ticket.work.inputs)
        place.ticket.worked()
        place.odd = not self._joint.fits(place.prepared)

    def _compute_one(self, place: _Place) -> None:
        place.ticket.waited()
        with stage_timing.stage(stage_timing.INFERENCE):
            own = self._joint.compute_one(place.prepared)
        _finish(own, place)
        place.ticket.worked()

    def _forward(self, going: Sequence[_Place]) -> Sequence[Any]:
        for place in going:
            place.ticket.waited()
        began = self.clock()
        outputs = self._joint.compute([place.prepared for place in going])
        seconds = self.clock() - began
        for place in going:
            place.ticket.taken.add(stage_timing.INFERENCE, seconds)
            place.prepared = None
        if len(outputs) != len(going):
            raise _Spoilt(f"{len(going)} requests have {len(outputs)} answers")
        return outputs


def _finish(own: Any, place: _Place) -> None:
    finish = place.ticket.work.finish
    place.answer = finish(own) if finish else own


def _step(place: _Place, step: Callable[[_Place], None]) -> None:
    """Do a step; what it raises is the request's own failure."""
    try:
        step(place)
    except (LateError, ClientGoneError) as refusal:
        place.error = refusal
    except BaseException as error:  # noqa: BLE001 - a service that exits must not end the worker
        place.error = PredictionError(FAILED)
        place.error.__cause__ = error
