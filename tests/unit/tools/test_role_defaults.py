"""The defaults of a role are copied into its argument_specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import role_defaults

SPECS = """---
argument_specs:
  main:
    options:
      r_first:
        type: list
        default: [a, b]
        description: First.
      r_second:
        type: list
        default:
          - {x: 1}
        description: Second.
      r_third:
        type: str
        description: Third.
"""


def role(tmp_path: Path, defaults: dict[str, Any]) -> Path:
    for name, text in (("meta/argument_specs.yml", SPECS), ("defaults/main.yml", "")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text or yaml.safe_dump(defaults), encoding="utf-8")
    return tmp_path


def defaults_in(text: str) -> dict[str, Any]:
    options = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return {name: row["default"] for name, row in options.items() if "default" in row}


def test_what_agrees_is_left_as_it_is(tmp_path: Path) -> None:
    made = role(tmp_path, {"r_first": ["a", "b"], "r_second": [{"x": 1}], "r_third": "{{ x }}"})
    assert role_defaults.specs(made) == SPECS


@pytest.mark.parametrize("value", [["a"], "", True, 3, "yes", {"a: b": "#"}, ["x" * 60] * 3, None])
def test_a_changed_default_is_copied(tmp_path: Path, value: object) -> None:
    made = role(tmp_path, {"r_first": value, "r_second": value, "r_third": "{{ x }}"})
    text = role_defaults.specs(made)
    assert defaults_in(text) == {"r_first": value, "r_second": value}
    assert max(map(len, text.splitlines())) <= 120
    assert "description: First." in text
