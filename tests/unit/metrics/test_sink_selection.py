"""Each value of ``--metrics-write-to`` has a sink of its own, a text and a row in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mms_server.cli.standalone import cmd
from mms_server.config.mms_args import METRICS
from mms_server.metrics.sink_selection import sink_for

DOCUMENT = Path(__file__).parents[3] / "docs/metrics.md"


def test_no_two_values_have_the_same_sink(tmp_path: Path) -> None:
    kinds = {value: type(sink_for(value, tmp_path)) for value in METRICS}
    assert len(set(kinds.values())) == len(METRICS), kinds


@pytest.mark.parametrize("value", METRICS)
def test_the_document_has_a_row_for_each_value(value: str) -> None:
    assert re.search(rf"^\| `{value}`[^|]*\| .+ \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)


def test_the_help_names_the_sinks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cmd.main(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "log, metrics/*.csv or CloudWatch, every minute (default: log)" in words
