"""The table of what can be taken away fits the package as it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mms_server
from tests.integration.without import MECHANISMS, Mechanism


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda each: each.name)
def test_each_place_is_there_once(mechanism: Mechanism) -> None:
    text = (Path(mms_server.__file__).parent / mechanism.file).read_text("utf-8")
    assert text.count(mechanism.old) == 1
    ast.parse(text.replace(mechanism.old, mechanism.new))
    test = Path(__file__).parents[2] / "integration" / mechanism.test.partition("::")[0]
    assert mechanism.test.partition("::")[2] in test.read_text("utf-8")
