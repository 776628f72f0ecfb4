"""What was found out is kept for whoever asks, and read as a stranger's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.config.model_settings import MAX_BATCH
from mms_server.host.instance_files import InstanceFiles
from mms_server.inference.batching.batch_decision import BatchDecision, most_of, tell


def test_what_is_told_is_read_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tell("m", BatchDecision(8, "a row costs 60% less", {1: 0.1, 8: 0.04}), InstanceFiles(tmp_path))
    assert most_of(InstanceFiles(tmp_path).batching) == 8
    assert "m computes up to 8 requests together: a row costs 60% less" in caplog.text
    assert "8: 0.040" in caplog.text


@pytest.mark.parametrize(
    ("text", "most"),
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
def test_what_a_model_may_have_written_is_not_believed(
    tmp_path: Path, text: str, most: int
) -> None:
    file = tmp_path / "batching.json"
    file.write_text(text)
    assert most_of(file) == most


def test_a_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert most_of(tmp_path / "none") == 1
