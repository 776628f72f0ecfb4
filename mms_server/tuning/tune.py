"""Measure a model with several settings on this host, beside what it serves, and keep the best."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from urllib3 import encode_multipart_formdata

from mms_server.archives import golden_samples
from mms_server.archives.extract import check
from mms_server.archives.golden_samples import Sample
from mms_server.archives.signature import Signature
from mms_server.config import cpu_count, mms_conf
from mms_server.core.errors import ConfError, MMSError, NoRoomError
from mms_server.core.files import write_atomically
from mms_server.core.formatting import size
from mms_server.deploy import retire
from mms_server.deploy.change_report import expected
from mms_server.deploy.host_context import Host
from mms_server.deploy.prune import prune
from mms_server.host import generations, unit_dropin
from mms_server.host.lock import locked
from mms_server.host.release import Release
from mms_server.tuning import conf_editor, load_generator, search
from mms_server.tuning.load_generator import Question
from mms_server.tuning.search import Candidate, Measurement, Window

WINDOW_S: Final = 2.0
Look = Callable[[Path, Sequence[Question], int, float], Window]


class NothingInTimeError(MMSError):
    """No setting that was tried answers within the limit."""

    exit_code = 3


@dataclass(frozen=True)
class Tuned:
    """What was found: all of it, the best, and what serves now; ``written`` is the file, if any."""

    model: str
    p99_ms: float
    serves: Candidate
    found: tuple[Measurement, ...]
    best: Measurement
    written: str = ""

    @property
    def changed(self) -> bool:
        """Return whether other settings than those of now are best."""
        return self.best.candidate != self.serves


def tune(
    host: Host,
    model: str,
    p99_ms: float,
    file: Path | None,
    *,
    count: Callable[[], int] = cpu_count.of_this_host,
    look: Look = load_generator.window,
) -> Tuned:
    """Measure a model that this host serves; write the best settings to ``file`` if it is given.

    What is tried gets ready beside what serves, is asked on its own socket, and ends. Clients of
    the host share its processor meanwhile.

    Raises:
        MMSError: the model is not served here, or has no golden samples to ask.
        ConfError: ``file`` is wrong, does not name the model, or cannot be written.
        NoRoomError: a trial does not fit beside what is loaded.
        NothingInTimeError: no setting answers within ``p99_ms``.
        SupervisorError, ProbeError: a trial did not start.
    """
    with locked(host.layout, f"mms tune {model}", host.now()):
        live = _live(host, model)
        if file is not None:
            _require_writable(file, model)
        questions = _questions(host, live)
        serves = Candidate(live.workers, live.max_batch_size, live.max_batch_delay_ms)
        found: list[Measurement] = []

        def measure(candidate: Candidate) -> None:
            host.report(f"model {model}: try {_said(candidate)}")
            with _ready(host, live, candidate) as socket:
                measured = search.climb(
                    candidate, p99_ms, lambda many: look(socket, questions, many, WINDOW_S)
                )
            for each in measured:
                host.report(f"  {line(each)}")
            found.extend(measured)

        try:
            for candidate in search.candidates(count(), serves):
                measure(candidate)
            fastest = search.best(found, p99_ms)
            for candidate in search.delayed(fastest.candidate) if fastest else []:
                measure(candidate)
        finally:
            prune(host)
    best = search.best(found, p99_ms)
    if best is None:
        nearest = min(found, key=lambda each: each.window.p99_ms)
        raise NothingInTimeError(
            f"model {model}: no setting answers 99 of 100 requests within {p99_ms:g} ms; nearest "
            f"is {line(nearest)}",
            fix="allow more time with --p99, choose a faster engine, or a host with less to do.",
        )
    tuned = Tuned(model, p99_ms, serves, tuple(found), best)
    if file is None:
        return tuned
    _write(host, tuned, file)
    return replace(tuned, written=str(file))


def line(measured: Measurement) -> str:
    """Return a measurement in one line."""
    seen = measured.window
    text = (
        f"{_said(measured.candidate)}, {_counted(measured.connections, 'connection')}: "
        f"{seen.requests_per_s:.1f} requests/s, p50 {seen.p50_ms:.1f} ms, p99 {seen.p99_ms:.1f} ms"
    )
    text += f", {seen.failed} failed" if seen.failed else ""
    return text if measured.stable else f"{text} (not stable)"


def _said(candidate: Candidate) -> str:
    text = f"{_counted(candidate.workers, 'worker')}, batches of up to {candidate.max_batch_size}"
    delay = candidate.max_batch_delay_ms
    return f"{text} that wait {delay} ms" if delay else text


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _live(host: Host, model: str) -> Release:
    generation = generations.newest(host.layout)
    served = generation.models if generation else {}
    release = host.release(served[model]) if model in served else None
    if release is None:
        fix = f"use one of {', '.join(served)}." if served else "run `mms apply` first."
        raise MMSError(f"model {model} is not served by this host.", fix=fix)
    if release.group:
        cause = f"model {model} shares its processes with others, those of group {release.model}."
        raise MMSError(cause, fix=f"remove {model}.group for the time, or measure by hand.")
    if release.on_gpu:
        fix = "measure it by hand: on a GPU each worker has its own copy of the model."
        raise MMSError(f"model {model} computes on a GPU, which is not tuned.", fix=fix)
    return release


def _questions(host: Host, release: Release) -> list[Question]:
    """Return requests that hold the release's golden samples: the real inputs that are known."""
    unpacked = host.store.entry(release.archive_sha256)
    _manifest, signature = check(unpacked)
    samples = golden_samples.read(host.store.entry(release.golden or release.archive_sha256))
    if signature is None or not samples:
        raise MMSError(
            f"model {release.model} has no golden samples, which are what it would be asked.",
            fix="export the model with --sample, or put samples beside the archive.",
        )
    return [_question(release.model, signature, each) for each in samples]


def _question(model: str, signature: Signature, sample: Sample) -> Question:
    fields: dict[str, Any] = {
        row.data_name: (f"{row.data_name}.jpg", value, signature.input_type)
        if isinstance(value, bytes)
        else json.dumps(value)
        for row, value in zip(signature.inputs, sample.inputs, strict=True)
    }
    return Question(f"/{model}/predict", *encode_multipart_formdata(fields))


@contextmanager
def _ready(host: Host, live: Release, candidate: Candidate) -> Iterator[Path]:
    """Yield the socket of the release with these settings; one that does not serve ends after."""
    trial = replace(live, **asdict(candidate))
    layout, settings = host.layout, host.settings
    if trial.id == live.id:
        yield layout.socket(live.id)
        return
    _require_room(host, live, trial)
    write_atomically(layout.release_file(trial.id), trial.to_json())
    try:
        host.supervisor.configure({trial.id: unit_dropin.text(layout, trial)})
        host.supervisor.open_socket(trial.id)
        host.supervisor.start(trial.id, settings.start_timeout_s)
        host.probe(layout.socket(trial.id), trial.model, settings.probe_timeout_s)
        host.supervisor.restore_cpu_weight(trial.id)
        yield layout.socket(trial.id)
    finally:
        retire.stop(host, trial.id)


def _require_room(host: Host, live: Release, trial: Release) -> None:
    """Refuse a trial that does not fit beside what is loaded."""
    usage = host.supervisor.usage([live.id])
    archive_bytes = host.store.content(live.archive_sha256).size_bytes
    needed = expected(host, trial, archive_bytes, live.id, usage).peak_bytes
    memory = host.memory()
    lacking = needed - (memory.available - host.settings.memory_reserve)
    if lacking > 0:
        raise NoRoomError(
            [live.model],
            lacking,
            f"a trial beside it needs {size(needed)}, {size(lacking)} more than is free.",
            fix="tune on a host with more memory, or with fewer models.",
        )


def _require_writable(file: Path, model: str) -> None:
    """Refuse, before minutes of measuring, a file in which the result could not be written.

    Raises:
        ConfError: it is wrong, does not name the model, or cannot be written.
    """
    names = [spec.name for spec in mms_conf.read(file).models]
    if model not in names:
        cause = f"{model!r} is not a model of --models."
        fix = f"give the file that the host serves with --conf; this one has {', '.join(names)}."
        raise ConfError(file, 0, cause, fix=fix)
    if not os.access(file.parent, os.W_OK):
        fix = "run it as root where the share can be written, or measure only, with --check."
        raise ConfError(file, 0, "its directory cannot be written.", fix=fix)


def _write(host: Host, tuned: Tuned, file: Path) -> None:
    """Write the settings and why into an mms.conf that names the model."""
    best, made_at = tuned.best, host.now().date().isoformat()
    evidence = [f"{made_at}, for a p99 of {tuned.p99_ms:g} ms: {line(best)}"]
    now = [each for each in tuned.found if each.candidate == tuned.serves]
    before = search.best(now, tuned.p99_ms)
    if before and before.candidate != best.candidate:
        evidence.append(f"before: {line(before)}")
    values: dict[str, str | None] = {
        name: str(value) for name, value in asdict(best.candidate).items()
    }
    if not best.candidate.max_batch_delay_ms:
        values["max_batch_delay_ms"] = None
    text = conf_editor.with_settings(file.read_text("utf-8-sig"), tuned.model, values, evidence)
    mms_conf.parse(text, file)
    write_atomically(file, text)
