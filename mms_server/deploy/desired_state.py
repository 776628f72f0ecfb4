"""The desired state of a host: releases made from ``mms.conf``, its archives and the settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from mms_server.archives.content_store import Content, Store
from mms_server.archives.locator import locate, locate_service
from mms_server.archives.resolver import ArchiveResolver, ResolvedArchive, unsafe
from mms_server.config import backend_names, cpu_count, devices
from mms_server.config.mms_args import METRICS
from mms_server.config.mms_conf import MmsConf, ModelSpec
from mms_server.config.model_settings import ROWS, ModelSettings
from mms_server.config.setting_rows import Place
from mms_server.config.settings import Settings
from mms_server.core import log_setup
from mms_server.core.errors import ArchiveError, ConfError, FetchError, MMSError
from mms_server.core.log_setup import Log
from mms_server.deploy import release_groups
from mms_server.host.release import Release

Report = Callable[[str], None]
_LOG_FILE: Final = "mms_app.log"


@dataclass(frozen=True)
class DesiredState:
    """The releases of a host.

    ``releases`` maps endpoint names to releases; the models of a group have the same release.
    ``host`` and ``port`` are the address in the API description. ``metrics_write_to`` is the
    destination of 0.4's metrics. ``contents`` maps endpoint names to the facts about archives.
    ``keep_warm_s`` maps names of models and groups to the seconds that a replaced release stays
    loaded. ``restores`` is the number of the generation that a rollback restores, None otherwise.
    """

    conf: Path
    releases: Mapping[str, Release]
    host: str
    port: int
    warnings: tuple[str, ...] = ()
    metrics_write_to: str = METRICS[0]
    contents: Mapping[str, Content] = field(default_factory=dict)
    keep_warm_s: Mapping[str, int] = field(default_factory=dict)
    restores: int | None = None

    def ids(self) -> dict[str, str]:
        """Return endpoint name -> release id."""
        return {model: release.id for model, release in self.releases.items()}

    @property
    def named(self) -> dict[str, Release]:
        """Return each release once, by the name of its model, or of its group."""
        return {release.model: release for release in self.releases.values()}

    def archive_bytes(self, release: Release) -> int:
        """Return the bytes of a release's unpacked archives."""
        return sum(self.contents[model].size_bytes for model in release.parts)


def resolve(
    conf: MmsConf,
    settings: Settings,
    archives: ArchiveResolver,
    report: Report,
    *,
    log_root: Path,
    take: bool,
    count_gpus: devices.Count = devices.count_gpus,
) -> DesiredState:
    """Return the desired state of ``conf``; ``take`` puts its archives into the store.

    Raises:
        ConfError: an archive is missing or bad, or there are too few GPUs; names the line.
        FetchError: a remote archive could not be fetched; names the line.
        MMSError: the runtime does not exist.
    """
    log, warnings = log_of(conf, settings, log_root)
    service = _service(conf, archives.store, take=take)
    runtime = _runtime(settings)
    device = devices.choose(conf, runtime / "bin/python", count_gpus)
    host = _host_values(conf, settings, runtime)
    releases: dict[str, Release] = {}
    contents: dict[str, Content] = {}
    for spec in conf.models:
        own = conf.model_settings.get(spec.name, ModelSettings())
        found = locate(conf, spec)
        report(f"model {spec.name}: {'take' if take else 'check'} {found}")
        with _at_line(conf, spec.line, f"model {spec.name}: archive {found}"):
            digest = archives.take(found) if take else archives.check(found)
        warnings += unsafe(found, f"{conf.file}:{spec.line}: model {spec.name}", digest)
        releases[spec.name] = Release(
            model=spec.name,
            archive_sha256=digest,
            environment=dict(conf.environment),
            gunicorn_args=tuple(word for row in conf.gunicorn for word in row.argv()),
            service=service,
            gpu=device.gpu,
            num_gpu=device.num_gpu,
            log=log,
            golden=_samples(conf, spec, found, archives.store, take=take),
            confinement=own.confinement(),
            **own.fields_of(Place.RELEASE, host),
            **own.fields_of(Place.PART, host),
            **_host_fields(host),
        )
        contents[spec.name] = archives.store.content(digest)
        _check_engine(conf, spec, releases[spec.name], contents[spec.name])
    return DesiredState(
        conf.file,
        release_groups.joined(releases, _groups(conf, device)),
        conf.host,
        conf.port,
        (*conf.warnings, *warnings, *device.warnings),
        conf.metrics_write_to,
        contents,
        keep_warm_of(conf, settings),
    )


def _host_values(conf: MmsConf, settings: Settings, runtime: Path) -> dict[str, Any]:
    """Return the host's settings by name, as they are for this ``mms.conf``."""
    workers = conf.workers or settings.workers or cpu_count.of_this_host()
    return {**vars(settings), "workers": workers, "runtime": str(runtime)}


def _host_fields(host: Mapping[str, Any]) -> dict[str, Any]:
    """Return the host's settings that are a field of a release, and no setting of a model."""
    of_models = {row.name for row in ROWS}
    names = [row.name for row in fields(Release) if row.name not in of_models]
    return {name: host[name] for name in names if name in host}


def _groups(conf: MmsConf, device: devices.Devices) -> dict[str, str]:
    """Return model -> group.

    Raises:
        ConfError: a model of a group would compute on a GPU; names the model's line.
    """
    found: dict[str, str] = {}
    for spec in conf.models:
        group = conf.model_settings.get(spec.name, ModelSettings()).group
        if group and (device.gpu is not None or device.num_gpu):
            cause = f"model {spec.name}: models of a group ({group}) compute on the CPU."
            fix = f"remove {spec.name}.group, or --gpu and --num-gpu."
            raise ConfError(conf.file, spec.line, cause, fix=fix)
        if group:
            found[spec.name] = group
    return found


def _check_engine(conf: MmsConf, spec: ModelSpec, release: Release, content: Content) -> None:
    """Check that a model's engine can compute on its device, and can be calibrated.

    Raises:
        ConfError: the engine cannot; names the model's line.
    """
    what = f"model {spec.name}: engine={release.engine}"
    if release.engine != backend_names.MXNET and release.on_gpu:
        cause = f"{what} computes on the CPU, but the model gets a GPU (--gpu, --num-gpu)."
        fix = f"remove {spec.name}.engine, or --gpu and --num-gpu."
        raise ConfError(conf.file, spec.line, cause, fix=fix)
    if release.engine == backend_names.INT8 and not (release.golden or content.golden):
        cause = f"{what} is calibrated with golden samples, and there are none."
        fix = "export the model with --sample, or put samples beside the archive."
        raise ConfError(conf.file, spec.line, cause, fix=fix)


def keep_warm_of(conf: MmsConf, settings: Settings) -> Mapping[str, int]:
    """Return the seconds that a replaced release stays loaded, by model and by group."""
    host = vars(settings)
    found = dict.fromkeys((spec.name for spec in conf.models), settings.keep_warm_s)
    for model, own in conf.model_settings.items():
        for name in filter(None, (model, own.group)):
            found[name] = own.value("keep_warm_s", host)
    return found


def log_of(conf: MmsConf, settings: Settings, root: Path) -> tuple[Log, list[str]]:
    """Return the log of the releases, and warnings (compatibility.md, 12).

    The path of a file is relative to ``root``. A file outside ``root`` is moved into it, because
    the units may write nowhere else: the code of a release is not trusted.
    """
    level = conf.arguments.get("--log-level", (log_setup.DEFAULT_LEVEL, 0))[0].upper()
    if "--log-file" not in conf.arguments:
        return Log(level), []
    text, line = conf.arguments["--log-file"]
    file, warnings = Path(os.path.normpath(root / text)), list[str]()
    if root not in file.parents:
        file = root / (file.name or _LOG_FILE)
        warnings = [f"{conf.file}:{line}: --log-file {text} is not below {root}: it is {file}."]
    turns = conf.arguments.get("--log-rotation-time", (log_setup.DEFAULT_ROTATION, 0))[0]
    return Log(level, str(file), turns, settings.log_files_kept), warnings


def check(
    conf: MmsConf, archives: ArchiveResolver, beside: Path | None
) -> Iterator[tuple[str, ResolvedArchive, str]]:
    """Check each archive and yield its model, place and digest; nothing is stored.

    An archive in the directory ``beside`` is used first.

    Raises:
        ConfError: an archive or the service file is missing or bad; names the line.
        FetchError: a remote archive could not be fetched; names the line.
    """
    locate_service(conf, beside)
    for spec in conf.models:
        found = locate(conf, spec, beside)
        with _at_line(conf, spec.line, f"model {spec.name}: archive {found}"):
            digest = archives.check(found)
        _samples(conf, spec, found, archives.store, take=False)
        yield spec.name, found, digest


def _samples(
    conf: MmsConf, spec: ModelSpec, found: ResolvedArchive, store: Store, *, take: bool
) -> str:
    """Return the store's entry of the golden samples beside an archive, or an empty string."""
    directory = found.samples
    if directory is None:
        return ""
    with _at_line(conf, spec.line, f"model {spec.name}: golden samples {directory}"):
        return store.add_samples(directory) if take else store.check_samples(directory)


def _service(conf: MmsConf, store: Store, *, take: bool) -> str:
    """Return the path, in the store, of the file of ``--service``, or an empty string.

    The store has a copy of it, so that a release does not read the shared file system.
    """
    source = locate_service(conf)
    if source is None:
        return ""
    with _at_line(conf, conf.arguments["--service"][1], f"service file {source}"):
        digest = store.add_file(source) if take else store.digest(source)
    return str(store.entry(digest) / source.name)


@contextmanager
def _at_line(conf: MmsConf, line: int, what: str) -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        raise ConfError(conf.file, line, f"{what}: {error.cause}", fix=error.fix) from error
    except FetchError as error:
        place = f"{conf.file}:{line}"
        raise FetchError(error.location, error.cause, fix=error.fix, place=place) from error


def _runtime(settings: Settings) -> Path:
    """Return the path of the runtime without links.

    A release keeps the runtime that it was checked with, also when the link is changed.
    """
    try:
        return Path(settings.runtime).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        cause = f"the runtime {settings.runtime} does not exist."
        raise MMSError(cause, fix="run the role mms_runtime, or set `runtime`.") from error
