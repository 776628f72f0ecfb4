"""What a host should serve: ``mms.conf``, its archives and the settings, made into releases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mms_server import cores, logs
from mms_server.conf import MmsConf
from mms_server.errors import ArchiveError, ConfError, MMSError
from mms_server.logs import Log
from mms_server.mms_flags import METRICS
from mms_server.release import Release
from mms_server.settings import Settings
from mms_server.sources import locate, locate_service
from mms_server.store import Store

Report = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """Endpoint name -> release; ``host`` and ``port`` are what the API description shows.

    ``metrics_write_to`` is where 0.4's metrics go.
    """

    conf: Path
    releases: Mapping[str, Release]
    host: str
    port: int
    warnings: tuple[str, ...] = ()
    metrics_write_to: str = METRICS[0]

    def ids(self) -> dict[str, str]:
        """Return endpoint name -> release id."""
        return {model: release.id for model, release in self.releases.items()}


def resolve(
    conf: MmsConf, settings: Settings, store: Store, report: Report, *, log_root: Path, take: bool
) -> Wanted:
    """Return what ``conf`` asks for; with ``take``, its archives are in the store afterwards.

    Raises:
        ConfError: an archive is missing or bad, or the log file is elsewhere than below
            ``log_root``; names the line.
        MMSError: the runtime is not there.
    """
    log = log_of(conf, settings, log_root)
    service = _service(conf, store, take=take)
    runtime = _runtime(settings)
    releases: dict[str, Release] = {}
    for spec in conf.models:
        source = locate(conf, spec)
        report(f"model {spec.name}: {'take' if take else 'check'} {source}")
        with _at_line(conf, spec.line, f"model {spec.name}: archive {source}"):
            digest = store.add_archive(source) if take else store.check_archive(source)
        releases[spec.name] = Release(
            model=spec.name,
            archive_sha256=digest,
            workers=conf.workers or settings.workers or cores.of_this_host(),
            runtime=str(runtime),
            environment=dict(conf.environment),
            gunicorn_args=tuple(word for row in conf.gunicorn for word in row.argv()),
            service=service,
            gpu=int(conf.arguments["--gpu"][0]) if "--gpu" in conf.arguments else None,
            predict_timeout_s=settings.predict_timeout_s,
            max_body_bytes=settings.max_body_bytes,
            max_pixels=settings.max_pixels,
            log=log,
        )
    return Wanted(conf.file, releases, conf.host, conf.port, conf.warnings, conf.metrics_write_to)


def log_of(conf: MmsConf, settings: Settings, root: Path) -> Log:
    """Return where the releases log to; a file's path counts from ``root`` (contract, section 12).

    Raises:
        ConfError: the file is elsewhere; names the line.
    """
    level = conf.arguments.get("--log-level", (logs.DEFAULT_LEVEL, 0))[0].upper()
    if "--log-file" not in conf.arguments:
        return Log(level)
    text, line = conf.arguments["--log-file"]
    file = Path(os.path.normpath(root / text))
    # Units can write nowhere else: a release's code comes from elsewhere.
    if root not in file.parents:
        cause = f"--log-file {text} is not below {root}."
        fix = f"give a file name, such as mms_app.log: it is made in {root}."
        raise ConfError(conf.file, line, cause, fix=fix)
    turns = conf.arguments.get("--log-rotation-time", (logs.DEFAULT_ROTATION, 0))[0]
    return Log(level, str(file), turns, settings.log_files_kept)


def check(conf: MmsConf, store: Store, archives: Path | None) -> Iterator[tuple[str, Path, str]]:
    """Yield model, path and digest of each archive after checking it; nothing is stored.

    Raises:
        ConfError: an archive or the service file is missing or bad; names the line.
    """
    locate_service(conf, archives)
    for spec in conf.models:
        source = locate(conf, spec, archives)
        with _at_line(conf, spec.line, f"model {spec.name}: archive {source}"):
            yield spec.name, source, store.check_archive(source)


def _service(conf: MmsConf, store: Store, *, take: bool) -> str:
    """Return the path of the overriding service file in the store, or an empty string.

    The store has a copy because serving must not read the shared file system.
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


def _runtime(settings: Settings) -> Path:
    """Follow the link: a release keeps the runtime it was checked with when the link moves."""
    try:
        return Path(settings.runtime).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        cause = f"the runtime {settings.runtime} does not exist."
        raise MMSError(cause, fix="run the role mms_runtime, or set `runtime`.") from error
