"""A release: one archive, by content, with one set of settings, under one endpoint name.

The id of a release is ``<model>.<8 hex>``. The hex digits are from the SHA-256 of all that could
change an answer, so releases with the same id are the same on all hosts. A group is a release of
several archives, whose models share its processes; its id has the name of the group.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from mms_server.config.backend_names import MXNET, TOLERANCES
from mms_server.config.model_settings import DEFAULT_BATCH, DEFAULT_QUEUE
from mms_server.config.sandbox import Confinement
from mms_server.core.added_fields import digested
from mms_server.core.errors import MMSError
from mms_server.core.log_setup import Log


@dataclass(frozen=True)
class Part:
    """One model of a release, and what it has of its own in a group.

    ``archive_sha256`` and ``golden`` are the store's entries of its archive and of the golden
    samples that were beside the archive. The other fields are settings of the model
    (:mod:`mms_server.config.model_settings`). Each field is one of :class:`Release`, too.
    """

    archive_sha256: str
    golden: str = ""
    request_timeout_ms: int = 0


NO_PART: Final = Part("")
"""The values of a group's release for the fields that are in its parts."""


@dataclass(frozen=True)
class Release:
    """What one systemd instance of a model, or of a group of models, serves.

    ``environment`` is from ``[MXNet Environment Variables]``, ``gunicorn_args`` from
    ``[Gunicorn Arguments]`` (without ``--bind`` and ``--workers``). ``runtime`` is the virtual
    environment that the release was checked with (an absolute path). ``service`` is the file that
    overrides the archive's service file (an absolute path, or empty). ``golden`` is the store's
    entry of golden samples that were beside the archive, or empty; they replace the archive's own.
    ``gpu`` is one GPU for all workers, ``num_gpu`` the number of GPUs that they take in turn.
    ``log`` is the log of its processes, ``confinement`` its limits and lifted protections.

    All other fields are settings, by their names: those of a model
    (:mod:`mms_server.config.model_settings`) and of the host (:mod:`mms_server.config.settings`).

    ``group`` maps the endpoint names of a group's models to their parts. Then ``model`` is the name
    of the group, and the fields of :data:`NO_PART` are empty.

    The id is a digest of all fields. A field that is added to this class, :class:`Part`,
    :class:`Confinement` or :class:`Log` has a default and the metadata ``ADDED_LATER``
    (:mod:`mms_server.core.added_fields`): the digest leaves it out while it has its default.
    Without the metadata, an upgrade would replace every release on every host.
    """

    model: str
    archive_sha256: str
    workers: int
    runtime: str
    environment: Mapping[str, str] = field(default_factory=dict)
    gunicorn_args: tuple[str, ...] = ()
    service: str = ""
    golden: str = ""
    gpu: int | None = None
    num_gpu: int = 0
    predict_timeout_s: float = 60.0
    max_body_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 64_000_000
    log: Log = field(default_factory=Log)
    confinement: Confinement = field(default_factory=Confinement)
    watchdog_s: int = 30
    worker_memory_max_bytes: int = -1
    request_timeout_ms: int = 0
    max_batch_size: int = DEFAULT_BATCH
    max_batch_delay_ms: int = 0
    max_queue: int = DEFAULT_QUEUE
    engine: str = MXNET
    engine_tolerance: float = TOLERANCES[MXNET]
    group: Mapping[str, Part] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Return ``<model>.<8 hex>``."""
        return f"{self.model}.{self.version}"

    @property
    def version(self) -> str:
        """Return the 8 hex digits of the id."""
        return self._digest()[:8]

    @property
    def on_gpu(self) -> bool:
        """Return whether the workers compute on GPUs."""
        return self.gpu is not None or self.num_gpu > 0

    @property
    def parts(self) -> Mapping[str, Part]:
        """Return endpoint name -> part: of the one model, or of the models of the group."""
        own = {row.name: getattr(self, row.name) for row in fields(Part)}
        return self.group or {self.model: Part(**own)}

    @property
    def queue_timeout_ms(self) -> int:
        """Return how long a request may wait in the queue, which all models share; 0: no limit."""
        limits = [part.request_timeout_ms for part in self.parts.values()]
        return max(limits) if all(limits) else 0

    @property
    def entries(self) -> tuple[str, ...]:
        """Return the entries of the store that the release reads."""
        service = Path(self.service).parent.name if self.service else ""
        parts = self.parts.values()
        archives = [name for part in parts for name in (part.archive_sha256, part.golden)]
        # Two models of a group may have the same archive.
        return tuple(dict.fromkeys(filter(None, (*archives, service))))

    @property
    def conversion(self) -> str:
        """Return the store's entry of the converted network, empty for the engine mxnet.

        The name is a digest of all inputs of the conversion. The entry may be missing, unlike
        others: then the network is converted when the release loads.
        """
        if self.engine == MXNET:
            return ""
        made_of = [self.engine, self.archive_sha256, self.golden, self.service, self.runtime]
        return hashlib.sha256(json.dumps(["conversion", *made_of]).encode()).hexdigest()

    def _digest(self) -> str:
        text = json.dumps(digested(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of ``release.json``."""
        return json.dumps(asdict(self), sort_keys=True, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Release:
        """Return the release of a text that ``to_json`` wrote.

        Raises:
            MMSError: the text is not a release of this version.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            data["gunicorn_args"] = tuple(data["gunicorn_args"])
            data["log"] = Log(**data.get("log", {}))
            data["confinement"] = Confinement.from_fields(data.get("confinement", {}))
            data["group"] = {name: Part(**row) for name, row in data.get("group", {}).items()}
            return cls(**data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MMSError(
                f"not a release file: {error}.", fix="run `mms apply` to write it again."
            ) from error


def model_of(release: str) -> str:
    """Return the name of a release: that of its model, or of its group."""
    return release.rpartition(".")[0]
