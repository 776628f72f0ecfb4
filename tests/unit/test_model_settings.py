"""``[Model Settings]`` of mms.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.conf import parse
from mms_server.errors import ConfError
from mms_server.model_settings import ModelSettings

FILE = Path("mms.conf")
HEAD = "[MMS Arguments]\n--models\na=/a.model a.b=/b.model\n"


def test_settings_of_models() -> None:
    conf = parse(f"{HEAD}[model settings]\n\n# c\na.keep_warm_s = 5\na.b.keep_warm_s=86400\n", FILE)
    assert conf.model_settings == {
        "a": ModelSettings(keep_warm_s=5),
        "a.b": ModelSettings(keep_warm_s=86400),
    }
    assert parse(HEAD, FILE).model_settings == {}


def test_the_section_may_stand_before_the_models() -> None:
    assert parse(f"[Model Settings]\na.keep_warm_s=0\n{HEAD}", FILE).model_settings["a"]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("keep_warm_s=5", "'keep_warm_s=5' is no setting of a model"),
        ("a.keep_warm_s", "'a.keep_warm_s' is no setting of a model"),
        ("c.keep_warm_s=5", "'c' is not a model of --models"),
        ("a.colour=red", "colour is not a setting of a model"),
        ("a.keep_warm_s=86401", "a.keep_warm_s=86401 is out of range"),
        ("a.keep_warm_s=-1", "a.keep_warm_s=-1 is out of range"),
        ("a.keep_warm_s=", "a.keep_warm_s= is out of range"),
        ("a.keep_warm_s=5\na.keep_warm_s=5", "a.keep_warm_s is given twice"),
    ],
)
def test_bad_settings(line: str, cause: str) -> None:
    with pytest.raises(ConfError) as caught:
        parse(f"{HEAD}[Model Settings]\n{line}\n", FILE)
    assert caught.value.line == 4 + line.count("\n") + 1
    assert cause in caught.value.cause
    assert caught.value.fix
