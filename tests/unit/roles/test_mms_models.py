from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.unit.roles.modules import load

models: Any = load("mms_service", "mms_models")


def test_result_is_passed_on() -> None:
    text = json.dumps({"changed": False, "generation": 3, "models": []})
    assert models.interpret(0, text, "")["generation"] == 3


def test_error_of_mms_becomes_the_message() -> None:
    text = json.dumps({"error": {"cause": "x", "text": "model digits, step start: x Fix: y"}})
    with pytest.raises(models.ApplyError, match=r"^model digits, step start: x Fix: y$"):
        models.interpret(4, text, "")


def test_output_that_is_not_json_shows_the_last_lines() -> None:
    with pytest.raises(models.ApplyError, match=r"mms ended with 1: Traceback | boom"):
        models.interpret(1, "", "Traceback\nboom\n")


def test_exit_code_counts_without_an_error_object() -> None:
    with pytest.raises(models.ApplyError, match="mms ended with 4"):
        models.interpret(4, "{}", "killed")


def test_slow_command_is_given_up() -> None:
    with pytest.raises(models.ApplyError, match="took more than 1 s"):
        models.run([sys.executable, "-c", "import time; time.sleep(30)"], 1)


CONF = ["--conf", "/x/mms.conf"]


@pytest.mark.parametrize(
    ("part", "check_mode", "words"),
    [
        ("models", False, ["apply", *CONF]),
        ("models", True, ["plan", *CONF]),
        ("edge", False, ["edge", *CONF]),
        ("edge", True, ["edge", "--check", *CONF]),
        ("rollback", False, ["rollback"]),
        ("rollback", True, ["rollback", "--check"]),
    ],
)
def test_the_command_of_a_part(part: str, check_mode: bool, words: list[str]) -> None:
    assert models.arguments_of(part, "/x/mms.conf", check_mode=check_mode) == words


def test_the_command_with_a_gap_and_with_a_number() -> None:
    found = models.arguments_of("models", "/x/mms.conf", check_mode=False, allow_gap=True)
    assert found == ["apply", "--allow-gap", *CONF]
    found = models.arguments_of("rollback", None, check_mode=True, allow_gap=True, to=7)
    assert found == ["rollback", "--check", "--allow-gap", "--to", "7"]


def test_the_plan_is_the_diff() -> None:
    result = {"before": "a", "after": "b", "plan": "loads  a", "changed": True}
    assert models.diff_of(result) == {"before": "a", "after": "b", "prepared": "loads  a\n"}
    assert models.diff_of({**result, "changed": False}) == {"before": "a", "after": "b"}
