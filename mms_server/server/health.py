"""Whether the wanted releases are ready, read from the kernel and the live links: never asked.

No model's queue is involved, so the answer comes at once whatever the load.
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

_Key = tuple[int, int, int]
_ATTEMPTS: Final = 3
_REMEMBERED: Final = 1024


@dataclass(frozen=True)
class ModelHealth:
    """One model: is its master alive, and how many workers are.

    ``serving`` is the release that its link points at, whose processes count; None if it has no
    link, and then they are those of the wanted release. ``linked`` is whether it is the wanted one:
    in the midst of a change it may be another. ``trouble`` says what else is known of one that has
    no process to answer.
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
        """Return why no request would be answered, an empty text if one would."""
        if self.ready:
            return ""
        if self.trouble:
            return self.trouble
        if not self.master:
            return "its server is not running, or still loads the model"
        return "it has no worker" if not self.workers else "no link leads to it"


def of_models(layout: Layout, models: Mapping[str, str]) -> dict[str, ModelHealth]:
    """Return the health of each model; ``models`` maps endpoint names to release ids."""
    serving = {
        model: release
        for model, release in live_links.read(layout).items()
        # A link that leads to another model serves nobody.
        if model == model_of(release) or _is_of(layout, model, release)
    }
    return {model: _one(layout, name, serving.get(model)) for model, name in models.items()}


def _one(layout: Layout, wanted: str, serving: str | None) -> ModelHealth:
    slots = _holders(layout, serving or wanted)
    master = MASTER_SLOT in slots
    workers = len(slots) - master
    answers = master and workers > 0
    release = serving or wanted
    why = "" if answers else _hidden(layout, release) or trouble(layout, release, time.time())
    return ModelHealth(master, workers, serving == wanted, serving, why)


@lru_cache(maxsize=_REMEMBERED)
def _models_of(layout: Layout, release: str) -> frozenset[str]:
    """Return the models of a group's release; what a release serves never changes."""
    return frozenset(Release.from_json(layout.release_file(release).read_text("utf-8")).parts)


def _is_of(layout: Layout, model: str, release: str) -> bool:
    try:
        return model in _models_of(layout, release)
    except (OSError, MMSError):
        return False


def has_processes(layout: Layout, release: str) -> bool:
    """Return whether any process of a release lives."""
    return bool(_holders(layout, release))


def _hidden(layout: Layout, release: str) -> str:
    """Return that the asking user may not see a release's processes, an empty text if it may."""
    try:
        os.close(open_for_reading(layout.alive_file(release)))
    except PermissionError:
        return "this user may not see whether it runs: ask as root"
    except OSError:
        return ""
    return ""


def _holders(layout: Layout, release: str) -> tuple[int, ...]:
    try:
        return live_slots(layout.alive_file(release))
    except OSError:
        # The model's code can have put anything there: it takes nobody but itself out of service.
        return ()


class NewestGeneration:
    """The newest generation, parsed again only when another file is the newest.

    Generation files never change and their numbers grow, so the directory's list and the newest
    file's identity say all; times of change alone would miss two changes within a clock tick.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._key: _Key | None = None
        self._generation: Generation | None = None

    def get(self) -> Generation | None:
        """Return it, None if there is none.

        Raises:
            MMSError: the file is not a generation.
            OSError: it cannot be read.
        """
        for _attempt in range(_ATTEMPTS):
            numbers = generations.numbers(self._layout)
            if not numbers:
                return None
            try:
                return self._load(numbers[0])
            except FileNotFoundError:  # removed since it was listed: list again
                continue
        return None

    def _load(self, number: int) -> Generation | None:
        file: Path = generations.file_of(self._layout, number)
        facts = file.stat()
        key = (number, facts.st_ino, facts.st_mtime_ns)
        if key != self._key:
            self._generation = generations.load(self._layout, number)
            self._key = key
        return self._generation
