"""The gate says whether a change may go on from the canaries to the rest.

Canaries are compared with the hosts that serve the old release under the same traffic at the same
time. Where these have too little of it, a canary is compared with its own past. Each model is
judged on its own: many good answers of one must not hide the bad ones of another.

Errors and restarts count at once, slow answers when they last: a few in a row, while the old
release ends or another program works, make a p99. So a model must be slow in two looks that follow
each other, and a suspicion of the last look asks for one more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

_ANSWERS: Final = "mms_predictions_total"
_BUCKET: Final = "mms_prediction_seconds_bucket"
_WORKERS: Final = "mms_worker_restarts_total"
_READY: Final = "mms_model_ready"
_QUANTILE: Final = 0.99
_MS: Final = 1000.0


@dataclass(frozen=True)
class Thresholds:
    """``errors`` is the share of answers with 5xx that may come in addition to those of the rest.

    The p99 may be ``p99_ratio`` times that of the rest and ``p99_slack_s`` seconds more. Fewer than
    ``min_requests`` answers are not compared. ``restarts`` of processes are tolerated.
    """

    errors: float = 0.01
    p99_ratio: float = 1.5
    p99_slack_s: float = 0.05
    min_requests: int = 20
    restarts: int = 0


@dataclass(frozen=True)
class Snapshot:
    """A host at one moment: the text of ``/metrics``, and what ``mms status --json`` printed."""

    metrics: str
    status: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def figures(self) -> dict[str, Figures]:
        """What each model has done until then."""
        found: dict[str, Figures] = {}
        for name, labels, value in self._samples:
            model = labels.get("model")
            if model is None:
                continue
            more = Figures()
            if name == _ANSWERS:
                more = Figures(answers=value, errors=value * labels.get("code", "").startswith("5"))
            elif name == _BUCKET:
                more = Figures(buckets={float(labels["le"]): value})
            elif name == _WORKERS:
                more = Figures(restarts=value)
            found[model] = found.get(model, Figures()).plus(more)
        return found

    @cached_property
    def ready(self) -> dict[str, bool]:
        """Whether each model is ready."""
        return {
            labels["model"]: value == 1.0 for name, labels, value in self._samples if name == _READY
        }

    @cached_property
    def _samples(self) -> list[tuple[str, dict[str, str], float]]:
        return [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(self.metrics)
            for sample in family.samples
        ]


@dataclass(frozen=True)
class Figures:
    """What a model did: ``buckets`` maps upper bounds in seconds to counts below them."""

    answers: float = 0
    errors: float = 0
    restarts: float = 0
    buckets: Mapping[float, float] = field(default_factory=dict)

    @property
    def error_rate(self) -> float:
        """Return the share of answers with 5xx."""
        return self.errors / self.answers if self.answers else 0.0

    @property
    def p99_s(self) -> float | None:
        """Return the 99th percentile in seconds, by linear interpolation; None without answers."""
        total = self.buckets.get(math.inf, 0.0)
        if not total:
            return None
        low, below = 0.0, 0.0
        for bound, count in sorted(self.buckets.items()):
            if count >= _QUANTILE * total:
                if math.isinf(bound):
                    return low
                return low + (bound - low) * (_QUANTILE * total - below) / (count - below)
            low, below = bound, count
        return low

    def plus(self, other: Figures) -> Figures:
        """Return the sum of two."""
        bounds = {*self.buckets, *other.buckets}
        return Figures(
            self.answers + other.answers,
            self.errors + other.errors,
            self.restarts + other.restarts,
            {each: self.buckets.get(each, 0) + other.buckets.get(each, 0) for each in bounds},
        )

    def minus(self, other: Figures) -> Figures:
        """Return what came since ``other``; counters that began anew count whole."""
        if self.answers < other.answers:
            return self
        bounds = {*self.buckets, *other.buckets}
        return Figures(
            self.answers - other.answers,
            max(0.0, self.errors - other.errors),
            max(0.0, self.restarts - other.restarts),
            {
                each: max(0.0, self.buckets.get(each, 0) - other.buckets.get(each, 0))
                for each in bounds
            },
        )


@dataclass(frozen=True)
class Verdict:
    """``reasons`` not to go on, empty for a good change; ``figures`` are lines for people.

    ``suspects`` are models that were slow in the latest look: if they are in the next one as well,
    it is a reason.
    """

    reasons: tuple[str, ...]
    figures: tuple[str, ...]
    suspects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """Looks at hosts by their names: ``past`` is before the change, ``start`` just after it.

    ``last`` is the look before this one. ``past`` may lack hosts that served nothing then, and each
    may lack hosts that were lost.
    """

    past: Mapping[str, Snapshot]
    start: Mapping[str, Snapshot]
    now: Mapping[str, Snapshot]
    last: Mapping[str, Snapshot] = field(default_factory=dict)

    @property
    def latest(self) -> Window:
        """What came since the look before this one."""
        return replace(self, start={**self.start, **self.last})

    def did(self, host: str, model: str) -> Figures:
        """Return what a model did on a host from the start until now."""
        then = self.start[host].figures.get(model, Figures()) if host in self.start else Figures()
        grown = self.now[host].figures.get(model, Figures()).minus(then)
        units = _unit_restarts(self.past.get(host), self.now[host], model)
        return grown.plus(Figures(restarts=units))

    def did_before(self, host: str, model: str) -> Figures:
        """Return what a model had done on a host before the change."""
        return self.past[host].figures.get(model, Figures()) if host in self.past else Figures()


def judge(
    window: Window, canaries: Iterable[str], limits: Thresholds, suspects: Iterable[str] = ()
) -> Verdict:
    """Compare the canaries with the rest; ``suspects`` are those of the verdict before."""
    chosen = [host for host in canaries if host in window.now]
    before = set(suspects)
    reasons: list[str] = []
    lines: list[str] = []
    slow: list[str] = []
    for model in sorted({model for host in chosen for model in window.now[host].figures}):
        whole = _compared(window, chosen, model, limits)
        lines.append(f"model {model}: {whole.line}")
        reasons += [f"model {model}: {text}" for text in whole.faults(limits)]
        latest = _compared(window.latest, chosen, model, limits)
        # With little traffic a look alone has too few answers to be judged.
        text = (latest if latest.enough(limits) else whole).slowness(limits)
        if text:
            slow.append(model)
            reasons += [f"model {model}: {text}"] if model in before else []
    for host in chosen:
        reasons += [
            f"model {model}: it is not ready on {host}."
            for model, ready in window.now[host].ready.items()
            if not ready
        ]
    return Verdict(tuple(reasons), tuple(lines), tuple(slow))


@dataclass(frozen=True)
class _Compared:
    """What the canaries did, and what they are compared with: ``whose`` says what that is."""

    new: Figures
    old: Figures | None
    whose: str

    @property
    def line(self) -> str:
        usual = f"{_words(self.old)} {self.whose}" if self.old else "nothing to compare with"
        return f"{_words(self.new)} on the canary; {usual}"

    def enough(self, limits: Thresholds) -> bool:
        return self.new.answers >= limits.min_requests

    def faults(self, limits: Thresholds) -> list[str]:
        """Return what is wrong at once: restarts and errors."""
        found = []
        if self.new.restarts > limits.restarts:
            found.append(f"{self.new.restarts:.0f} restarts of its processes on the canary.")
        usual = self.old.error_rate if self.old else 0.0
        if self.enough(limits) and self.new.error_rate > usual + limits.errors:
            found.append(
                f"{self.new.error_rate:.1%} of {self.new.answers:.0f} answers of the canary are "
                f"errors, {usual:.1%} {self.whose}."
            )
        return found

    def slowness(self, limits: Thresholds) -> str:
        """Return how the canaries are too slow, nothing if they are not."""
        p99, usual = self.new.p99_s, self.old.p99_s if self.old else None
        if not self.enough(limits) or p99 is None or usual is None:
            return ""
        most = usual * limits.p99_ratio + limits.p99_slack_s
        if p99 <= most:
            return ""
        return (
            f"p99 of the canary is {_ms(p99)}, {_ms(usual)} {self.whose}; "
            f"at most {_ms(most)} are allowed."
        )


def _compared(window: Window, chosen: Sequence[str], model: str, limits: Thresholds) -> _Compared:
    rest = [host for host in window.now if host not in chosen]
    new = _sum(window.did(host, model) for host in chosen)
    others = _sum(window.did(host, model) for host in rest)
    past = _sum(window.did_before(host, model) for host in chosen)
    return _Compared(new, *_baseline(others, past, limits))


def _baseline(others: Figures, past: Figures, limits: Thresholds) -> tuple[Figures | None, str]:
    if others.answers >= limits.min_requests:
        return others, "on the other hosts"
    if past.answers >= limits.min_requests:
        return past, "before the change"
    return None, "expected (there is nothing to compare with)"


def _unit_restarts(before: Snapshot | None, after: Snapshot, model: str) -> float:
    """Return how often systemd started the model's release again; a new release began at 0."""
    old = _row(before, model) if before else {}
    new = _row(after, model)
    same = old.get("release") == new.get("release")
    count = float(new.get("restarts") or 0) - (float(old.get("restarts") or 0) if same else 0.0)
    return max(0.0, count)


def _row(look: Snapshot, model: str) -> Mapping[str, Any]:
    rows = look.status.get("models") or []
    return next((row for row in rows if row.get("model") == model), {})


def _sum(figures: Iterable[Figures]) -> Figures:
    total = Figures()
    for each in figures:
        total = total.plus(each)
    return total


def _words(figures: Figures) -> str:
    p99 = figures.p99_s
    time = "" if p99 is None else f", p99 {_ms(p99)}"
    return f"{figures.answers:.0f} answers, {figures.error_rate:.1%} errors{time}"


def _ms(seconds: float) -> str:
    return f"{seconds * _MS:.0f} ms"
