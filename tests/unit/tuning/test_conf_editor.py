"""Tests of the editor of model settings in the text of an mms.conf."""

from __future__ import annotations

from pathlib import Path

from mms_server.config.mms_conf import parse
from mms_server.tuning.conf_editor import set_settings

HEAD = "[MMS Arguments]\n--models\na=/a.model a.b=/b.model\n"
VALUES = {"workers": "2", "max_batch_size": "8"}


def test_a_section_is_added() -> None:
    text = set_settings(HEAD, "a", VALUES, ["today: 5 requests/s"])
    assert text == (
        f"{HEAD}\n[Model Settings]\n# mms tune: a: today: 5 requests/s\na.workers=2\n"
        "a.max_batch_size=8\n"
    )
    found = parse(text, Path("f")).model_settings["a"]
    assert (found.workers, found.max_batch_size) == (2, 8)


def test_earlier_values_are_replaced_and_other_lines_kept() -> None:
    before = (
        "# mine\n[model settings]\n# about a\na.workers = 9\na.keep_warm_s=5\na.b.workers=3\n\n"
        + HEAD
    )
    text = set_settings(before, "a", VALUES, ["one", "two"])
    assert text == (
        "# mine\n[model settings]\n# mms tune: a: one\n# mms tune: a: two\na.workers=2\n"
        "a.max_batch_size=8\n# about a\na.keep_warm_s=5\na.b.workers=3\n\n" + HEAD
    )


def test_a_setting_that_is_none_is_removed() -> None:
    before = f"{HEAD}[Model Settings]\na.max_batch_delay_ms=2\na.b.max_batch_delay_ms=3\n"
    text = set_settings(before, "a", {"max_batch_size": "1", "max_batch_delay_ms": None}, [])
    assert text == f"{HEAD}[Model Settings]\na.max_batch_size=1\na.b.max_batch_delay_ms=3\n"


def test_a_second_edit_changes_nothing() -> None:
    once = set_settings(HEAD, "a", VALUES, ["now"])
    assert set_settings(once, "a", VALUES, ["now"]) == once
    other = set_settings(once, "a.b", VALUES, ["now"])
    assert set_settings(other, "a", VALUES, ["now"]).count("a.b.workers=2") == 1
