"""``mms tune``: measure a model with several settings on this host, and write the best ones.

Every candidate is a release of its own, which loads beside those that serve.
"""

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
from mms_server.deploy.change_report import expected_need
from mms_server.deploy.host_context import Host
from mms_server.deploy.prune import prune
from mms_server.host import generations, unit_dropin
from mms_server.host.lock import locked
from mms_server.host.release import Release
from mms_server.tuning import conf_editor, load_generator, search
from mms_server.tuning.load_generator import Request
from mms_server.tuning.search import Candidate, Measurement, Window

WINDOW_S: Final = 2.0
MeasureWindow = Callable[[Path, Sequence[Request], int, float], Window]
"""Measures a socket with requests, a number of connections, and seconds."""


class NothingInTimeError(MMSError):
    """No candidate answers within the limit of the 99th percentile."""

    exit_code = 3


@dataclass(frozen=True)
class Tuned:
    """All measurements, the best one, and the current settings; ``written`` is the file, if any.

    The names of the fields are keys of the JSON of ``mms tune --json``.
    """

    model: str
    p99_ms: float
    serves: Candidate
    found: tuple[Measurement, ...]
    best: Measurement
    written: str = ""

    @property
    def changed(self) -> bool:
        """Return whether the best settings are not the current ones."""
        return self.best.candidate != self.serves


def tune(
    host: Host,
    model: str,
    p99_ms: float,
    file: Path | None,
    *,
    count: Callable[[], int] = cpu_count.of_this_host,
    measure_window: MeasureWindow = load_generator.measure_window,
) -> Tuned:
    """Measure a model that this host serves; write the best settings to ``file`` if it is given.

    A release with the settings of each candidate loads beside those that serve, is measured on its
    own socket, and ends. Clients of the host share its processors with the measurements.

    Raises:
        MMSError: the model is not served here, or has no golden samples, which are the requests.
        ConfError: ``file`` is not valid, does not name the model, or cannot be written.
        NoRoomError: the memory does not suffice for a candidate beside the loaded releases.
        NothingInTimeError: no candidate answers within ``p99_ms``.
        SupervisorError, ProbeError: the release of a candidate did not start.
    """
    with locked(host.layout, f"mms tune {model}", host.now()):
        live = _live_release(host, model)
        if file is not None:
            _require_writable(file, model)
        requests = _sample_requests(host, live)
        current = Candidate(live.workers, live.max_batch_size, live.max_batch_delay_ms)
        measurements: list[Measurement] = []

        def measure(candidate: Candidate) -> None:
            host.report(f"model {model}: try {_describe(candidate)}")
            with _run_trial(host, live, candidate) as socket:
                measured = search.measure_candidate(
                    candidate,
                    p99_ms,
                    lambda connections: measure_window(socket, requests, connections, WINDOW_S),
                )
            for each in measured:
                host.report(f"  {describe_measurement(each)}")
            measurements.extend(measured)

        try:
            for candidate in search.list_candidates(count(), current):
                measure(candidate)
            fastest = search.select_best(measurements, p99_ms)
            for candidate in search.add_delays(fastest.candidate) if fastest else []:
                measure(candidate)
        finally:
            prune(host)
    best = search.select_best(measurements, p99_ms)
    if best is None:
        nearest = min(measurements, key=lambda each: each.window.p99_ms)
        raise NothingInTimeError(
            f"model {model}: no setting answers 99 of 100 requests within {p99_ms:g} ms; nearest "
            f"is {describe_measurement(nearest)}",
            fix="allow more time with --p99, choose a faster engine, or a host with less load.",
        )
    tuned = Tuned(model, p99_ms, current, tuple(measurements), best)
    if file is None:
        return tuned
    _write(host, tuned, file)
    return replace(tuned, written=str(file))


def describe_measurement(measurement: Measurement) -> str:
    """Return a measurement as one line of text."""
    window = measurement.window
    text = (
        f"{_describe(measurement.candidate)}, {_plural(measurement.connections, 'connection')}: "
        f"{window.requests_per_s:.1f} requests/s, p50 {window.p50_ms:.1f} ms, "
        f"p99 {window.p99_ms:.1f} ms"
    )
    text += f", {window.failed} failed" if window.failed else ""
    return text if measurement.stable else f"{text} (not stable)"


def _describe(candidate: Candidate) -> str:
    text = f"{_plural(candidate.workers, 'worker')}, batches of up to {candidate.max_batch_size}"
    delay = candidate.max_batch_delay_ms
    return f"{text} that wait {delay} ms" if delay else text


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _live_release(host: Host, model: str) -> Release:
    """Return the release that serves a model; refuse groups and models on a GPU."""
    generation = generations.newest(host.layout)
    served = generation.models if generation else {}
    release = host.release(served[model]) if model in served else None
    if release is None:
        fix = f"use one of {', '.join(served)}." if served else "run `mms apply` first."
        raise MMSError(f"model {model} is not served by this host.", fix=fix)
    if release.group:
        cause = f"model {model} shares its processes with the models of group {release.model}."
        fix = f"remove {model}.group while you tune, or measure by hand."
        raise MMSError(cause, fix=fix)
    if release.on_gpu:
        fix = "measure it by hand: on a GPU each worker has its own copy of the model."
        raise MMSError(
            f"model {model} computes on a GPU, which mms tune does not support.", fix=fix
        )
    return release


def _sample_requests(host: Host, release: Release) -> list[Request]:
    """Return one request per golden sample of the release: they are the only known real inputs."""
    unpacked = host.store.entry(release.archive_sha256)
    _manifest, signature = check(unpacked)
    samples = golden_samples.read(host.store.entry(release.golden or release.archive_sha256))
    if signature is None or not samples:
        raise MMSError(
            f"model {release.model} has no golden samples, which mms tune sends as requests.",
            fix="export the model with --sample, or put samples beside the archive.",
        )
    return [_sample_request(release.model, signature, sample) for sample in samples]


def _sample_request(model: str, signature: Signature, sample: Sample) -> Request:
    fields: dict[str, Any] = {
        spec.data_name: (f"{spec.data_name}.jpg", value, signature.input_type)
        if isinstance(value, bytes)
        else json.dumps(value)
        for spec, value in zip(signature.inputs, sample.inputs, strict=True)
    }
    return Request(f"/{model}/predict", *encode_multipart_formdata(fields))


@contextmanager
def _run_trial(host: Host, live: Release, candidate: Candidate) -> Iterator[Path]:
    """Yield the socket of a release with the candidate's settings.

    It is the live release if that has these settings, or else a new one, which ends afterwards.
    """
    trial = replace(live, **asdict(candidate))
    layout, settings = host.layout, host.settings
    if trial.id == live.id:
        yield layout.socket(live.id)
        return
    _require_room(host, live, trial)
    write_atomically(layout.release_file(trial.id), trial.to_json())
    try:
        host.supervisor.configure({trial.id: unit_dropin.render(layout, trial)})
        host.supervisor.open_socket(trial.id)
        host.supervisor.start(trial.id, settings.start_timeout_s)
        host.probe(layout.socket(trial.id), trial.model, settings.probe_timeout_s)
        host.supervisor.restore_cpu_weight(trial.id)
        yield layout.socket(trial.id)
    finally:
        retire.stop(host, trial.id)


def _require_room(host: Host, live: Release, trial: Release) -> None:
    """Refuse a trial for which the memory does not suffice beside the loaded releases."""
    usage = host.supervisor.usage([live.id])
    archive_bytes = host.store.content(live.archive_sha256).size_bytes
    needed = expected_need(host, trial, archive_bytes, live.id, usage).peak_bytes
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
    """Refuse a file that the result cannot be written to, before minutes of measurements.

    Raises:
        ConfError: the file is not valid, does not name the model, or cannot be written.
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
    """Write the best settings into an mms.conf, with the measurements as comments."""
    best, made_at = tuned.best, host.now().date().isoformat()
    evidence = [f"{made_at}, for a p99 of {tuned.p99_ms:g} ms: {describe_measurement(best)}"]
    of_current = [each for each in tuned.found if each.candidate == tuned.serves]
    before = search.select_best(of_current, tuned.p99_ms)
    if before and before.candidate != best.candidate:
        evidence.append(f"before: {describe_measurement(before)}")
    values: dict[str, str | None] = {
        name: str(value) for name, value in asdict(best.candidate).items()
    }
    if not best.candidate.max_batch_delay_ms:
        values["max_batch_delay_ms"] = None
    text = conf_editor.set_settings(file.read_text("utf-8-sig"), tuned.model, values, evidence)
    mms_conf.parse(text, file)
    write_atomically(file, text)
