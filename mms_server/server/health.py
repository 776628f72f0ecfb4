"""The health of the models: from record locks of the kernel and the live links.

No request is sent to a model. So the answer is immediate, whatever the load.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.core.untrusted_files import open_for_reading
from mms_server.crashes.lookup import trouble
from mms_server.host import generations, live_links
from mms_server.host.generations import Generation
from mms_server.host.process_liveness import MASTER_SLOT, live_slots
from mms_server.host.release import Release, model_of

_FileVersion = tuple[int, int, int]
_ATTEMPTS: Final = 3
_CACHED_RELEASES: Final = 1024


@dataclass(frozen=True)
class ModelHealth:
    """The health of one model: whether its master is alive, and the number of live workers.

    ``serving`` is the release that the model's link points at, and the processes are of that
    release. Without a link it is None, and the processes are of the wanted release. ``linked`` is
    whether the link points at the wanted release: during a change it may point at another.
    ``trouble`` is a known cause why no process can answer.
    """

    master: bool
    workers: int
    linked: bool
    serving: str | None = None
    trouble: str = ""

    @property
    def ready(self) -> bool:
        """Return whether a request would be answered."""
        return self.master and self.workers > 0 and self.serving is not None

    @property
    def reason(self) -> str:
        """Return why no request would be answered; empty if requests are answered."""
        if self.ready:
            return ""
        if self.trouble:
            return self.trouble
        if not self.master:
            return "its server is not running, or still loads the model"
        return "it has no worker" if not self.workers else "no link leads to it"


def check_models(layout: Layout, models: Mapping[str, str]) -> dict[str, ModelHealth]:
    """Return the health of each model; ``models`` maps endpoint names to release ids."""
    serving = {
        model: release
        for model, release in live_links.read(layout).items()
        # A link to the release of another model is not counted: requests would get wrong answers.
        if model == model_of(release) or _serves(layout, release, model)
    }
    return {
        model: _check_model(layout, release, serving.get(model))
        for model, release in models.items()
    }


def _check_model(layout: Layout, wanted: str, serving: str | None) -> ModelHealth:
    release = serving or wanted
    slots = _live_slots(layout, release)
    master = MASTER_SLOT in slots
    workers = len(slots) - master
    cause = ""
    if not master or not workers:
        cause = _access_problem(layout, release) or trouble(layout, release, time.time())
    return ModelHealth(master, workers, serving == wanted, serving, cause)


@lru_cache(maxsize=_CACHED_RELEASES)
def _models_of(layout: Layout, release: str) -> frozenset[str]:
    """Return the models of a group's release; they never change, so the result is cached."""
    return frozenset(Release.from_json(layout.release_file(release).read_text("utf-8")).parts)


def _serves(layout: Layout, release: str, model: str) -> bool:
    try:
        return model in _models_of(layout, release)
    except (OSError, MMSError):
        return False


def has_processes(layout: Layout, release: str) -> bool:
    """Return whether a process of a release is alive."""
    return bool(_live_slots(layout, release))


def _access_problem(layout: Layout, release: str) -> str:
    """Return a text if this user may not read a release's locks; empty if it may."""
    try:
        os.close(open_for_reading(layout.alive_file(release)))
    except PermissionError:
        return "this user may not see whether it runs: ask as root"
    except OSError:
        return ""
    return ""


def _live_slots(layout: Layout, release: str) -> tuple[int, ...]:
    try:
        return live_slots(layout.alive_file(release))
    except OSError:
        # The model's code can replace the file: only that model is then reported as not ready.
        return ()


class NewestGeneration:
    """The newest generation, cached until another file is the newest.

    Generation files never change, and their numbers grow. So the number and the identity of the
    newest file show a change. Modification times alone would miss two changes within a clock tick.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._version: _FileVersion | None = None
        self._generation: Generation | None = None

    def get(self) -> Generation | None:
        """Return the newest generation; None if there is none.

        Raises:
            MMSError: the file is not a generation.
            OSError: the file cannot be read.
        """
        for _attempt in range(_ATTEMPTS):
            numbers = generations.numbers(self._layout)
            if not numbers:
                return None
            try:
                return self._load(numbers[0])
            except FileNotFoundError:  # removed after it was listed: list again
                continue
        return None

    def _load(self, number: int) -> Generation | None:
        file: Path = generations.file_of(self._layout, number)
        status = file.stat()
        version = (number, status.st_ino, status.st_mtime_ns)
        if version != self._version:
            self._generation = generations.load(self._layout, number)
            self._version = version
        return self._generation
