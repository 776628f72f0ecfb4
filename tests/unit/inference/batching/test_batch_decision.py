"""Tests of the file of the batch decision: written, logged, and read as untrusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.config.model_settings import MAX_BATCH
from mms_server.host.instance_files import InstanceFiles
from mms_server.inference.batching.batch_decision import BatchDecision, read_max_batch, record


def test_a_decision_is_written_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    decision = BatchDecision(8, "a row costs 60% less", {1: 0.1, 8: 0.04})
    record("m", decision, InstanceFiles(tmp_path))
    assert read_max_batch(InstanceFiles(tmp_path).batching) == 8
    assert "m computes up to 8 requests together: a row costs 60% less" in caplog.text
    assert "8: 0.040" in caplog.text


@pytest.mark.parametrize(
    ("text", "max_batch"),
    [
        ("", 1),
        ("{", 1),
        ("[]", 1),
        ("{}", 1),
        ('{"most": true}', 1),
        ('{"most": 0}', 1),
        (f'{{"most": {MAX_BATCH}}}', MAX_BATCH),
        (f'{{"most": {MAX_BATCH + 1}}}', 1),
    ],
)
def test_an_invalid_file_means_no_batches(tmp_path: Path, text: str, max_batch: int) -> None:
    file = tmp_path / "batching.json"
    file.write_text(text)
    assert read_max_batch(file) == max_batch


def test_a_missing_file_means_no_batches(tmp_path: Path) -> None:
    assert read_max_batch(tmp_path / "none") == 1
