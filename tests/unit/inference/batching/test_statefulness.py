"""Services that keep state between their steps are found by their source."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.inference.batching.statefulness import state_of
from mms_server.inference.services.model_service import load_service
from mms_server.inference.services.mxnet_vision_service import MXNetVisionService

HEAD = """
import numpy as np

from mms.model_service.mxnet_model_service import MXNetBaseService

SEEN = []
LIMIT = 3


class Service(MXNetBaseService):
    kept = []

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.limit = LIMIT

    def _preprocess(self, data):
"""

KEEPS = [
    "self.size = data[0]",
    "self.size += 1",
    "self.sizes['a'] = data",
    "del self.size",
    "self.kept.append(data)",
    "Service.kept.append(data)",
    "SEEN.append(data)",
    "SEEN[0] = data",
    "setattr(self, 'size', data)",
    "vars(self)['size'] = data",
    "global LIMIT; LIMIT = 4",
    "for self.size in data: pass",
    "x, self.size = data",
    "self.inner.deep.size = data",
]
KEEPS_NOTHING = [
    "return data",
    "size = self.limit",
    "rows = []; rows.append(data); return rows",
    "data[0] = np.append(data[0], self.limit)",
    "table = {}; table['a'] = data; table.update(a=1)",
    "data[0][:] = SEEN[0]",
    "return [row + LIMIT for row in data]",
]


def service(directory: Path, line: str) -> type:
    file = directory / "service.py"
    file.write_text(f"{HEAD}        {line}\n")
    found: type = load_service(str(file)).Service
    return found


@pytest.mark.parametrize("line", KEEPS)
def test_what_outlives_a_step_is_state(tmp_path: Path, line: str) -> None:
    assert state_of(service(tmp_path, line)) == f"service.py:{HEAD.count(chr(10)) + 1}"


@pytest.mark.parametrize("line", KEEPS_NOTHING)
def test_what_a_step_has_of_its_own_is_none(tmp_path: Path, line: str) -> None:
    assert state_of(service(tmp_path, line)) == ""


def test_the_classes_of_the_server_keep_none() -> None:
    assert state_of(MXNetVisionService) == ""


def test_a_source_that_is_gone_may_hold_anything(tmp_path: Path) -> None:
    made = service(tmp_path, "return data")
    (tmp_path / "service.py").unlink()
    assert "cannot be read" in state_of(made)
