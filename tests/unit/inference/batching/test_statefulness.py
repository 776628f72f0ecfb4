"""Tests of finding state that a service keeps between its steps, from its source."""

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

STATEFUL = [
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
STATELESS = [
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


@pytest.mark.parametrize("line", STATEFUL)
def test_writes_to_shared_objects_are_state(tmp_path: Path, line: str) -> None:
    assert state_of(service(tmp_path, line)) == f"service.py:{HEAD.count(chr(10)) + 1}"


@pytest.mark.parametrize("line", STATELESS)
def test_writes_to_local_objects_are_not_state(tmp_path: Path, line: str) -> None:
    assert state_of(service(tmp_path, line)) == ""


def test_classes_of_the_server_keep_no_state() -> None:
    assert state_of(MXNetVisionService) == ""


def test_a_class_without_source_counts_as_stateful(tmp_path: Path) -> None:
    made = service(tmp_path, "return data")
    (tmp_path / "service.py").unlink()
    assert "cannot be read" in state_of(made)
