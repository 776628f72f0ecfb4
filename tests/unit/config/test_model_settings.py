"""``[Model Settings]`` of mms.conf."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mms_server.config import backend_names
from mms_server.config.mms_conf import parse
from mms_server.config.model_settings import ModelSettings
from mms_server.core.errors import ConfError

FILE = Path("mms.conf")
HEAD = "[MMS Arguments]\n--models\na=/a.model a.b=/b.model\n"


def test_settings_of_models() -> None:
    conf = parse(f"{HEAD}[model settings]\n\n# c\na.keep_warm_s = 5\na.b.keep_warm_s=86400\n", FILE)
    assert conf.model_settings == {
        "a": ModelSettings(keep_warm_s=5),
        "a.b": ModelSettings(keep_warm_s=86400),
    }
    assert parse(HEAD, FILE).model_settings == {}


@pytest.mark.parametrize("most", [1, 86_400_000])
def test_a_request_timeout_up_to_a_day(most: int) -> None:
    conf = parse(f"{HEAD}[Model Settings]\na.request_timeout_ms={most}\n", FILE)
    assert conf.model_settings["a"].request_timeout_ms == most


@pytest.mark.parametrize("most", [1, 64])
def test_a_batch_of_up_to_what_is_noted_of_it(most: int) -> None:
    conf = parse(f"{HEAD}[Model Settings]\na.max_batch_size={most}\n", FILE)
    assert conf.model_settings["a"].max_batch_size == most


@pytest.mark.parametrize("most", [1, 1024])
def test_workers_of_one_model(most: int) -> None:
    conf = parse(f"{HEAD}[Model Settings]\na.workers={most}\n", FILE)
    assert conf.model_settings["a"].workers == most


@pytest.mark.parametrize("most", [1, 4096])
def test_a_queue_of_up_to_what_the_kernel_allows(most: int) -> None:
    conf = parse(f"{HEAD}[Model Settings]\na.max_queue={most}\n", FILE)
    assert conf.model_settings["a"].max_queue == most


def test_an_engine_and_how_far_it_may_be_from_the_reference() -> None:
    conf = parse(
        f"{HEAD}[Model Settings]\na.engine=int8\na.b.engine_tolerance=1\na.b.engine=onnxruntime\n",
        FILE,
    )
    assert conf.model_settings["a"].value("engine_tolerance") == backend_names.TOLERANCES["int8"]
    assert conf.model_settings["a.b"].value("engine_tolerance") == 1.0
    assert ModelSettings().value("engine_tolerance") == 0.0
    assert ModelSettings(engine="mxnet").value("engine_tolerance") == 0.0


@pytest.mark.parametrize("engine", ["", "a.engine=mxnet\n"])
def test_a_tolerance_without_another_engine_is_refused(engine: str) -> None:
    with pytest.raises(
        ConfError, match=r"a\.engine_tolerance has no effect on this model: its engine is mxnet"
    ) as caught:
        parse(f"{HEAD}[Model Settings]\na.engine_tolerance=0.01\n{engine}", FILE)
    assert caught.value.line == 5


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
        ("a.request_timeout_ms=0", "a.request_timeout_ms=0 is out of range"),
        ("a.request_timeout_ms=86400001", "a.request_timeout_ms=86400001 is out of range"),
        ("a.request_timeout_ms=1.5", "a.request_timeout_ms=1.5 is out of range"),
        ("a.max_batch_size=0", "a.max_batch_size=0 is out of range"),
        ("a.workers=0", "a.workers=0 is out of range"),
        ("a.workers=1025", "a.workers=1025 is out of range"),
        ("a.max_queue=0", "a.max_queue=0 is out of range"),
        ("a.max_queue=4097", "a.max_queue=4097 is out of range"),
        ("a.max_batch_size=65", "a.max_batch_size=65 is out of range"),
        ("a.max_batch_delay_ms=1001", "a.max_batch_delay_ms=1001 is out of range"),
        ("a.max_batch_delay_ms=-1", "a.max_batch_delay_ms=-1 is out of range"),
        (
            "a.max_batch_size=1\na.max_batch_delay_ms=5",
            "a.max_batch_delay_ms has no effect on this model: its max_batch_size is 1",
        ),
        ("a.engine=tensorrt", "a.engine=tensorrt is out of range"),
        ("a.engine_tolerance=0", "a.engine_tolerance=0 is out of range"),
        ("a.engine_tolerance=1.000000001", "a.engine_tolerance=1.000000001 is out of range"),
        ("a.engine_tolerance=nan", "a.engine_tolerance=nan is out of range"),
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


LIMITS = [
    ("memory_high", ["33554432", "32M", "999T", "1%", "100%"], ["33554431", "31M", "0%", "101%"]),
    ("memory_max", ["32768K", "2G"], ["32767K", "2GB", "infinity", "-1", "1.5G", "2 G", "٣٣M"]),
    ("tasks_max", ["16", "65536"], ["15", "65537", "x", "1e3", "٣٣"]),
    ("cpu_weight", ["1", "10000"], ["0", "10001", "idle"]),
]


@pytest.mark.parametrize(("name", "good", "bad"), LIMITS)
def test_limits(name: str, good: list[str], bad: list[str]) -> None:
    for value in good:
        found = parse(f"{HEAD}[Model Settings]\na.{name}={value}\n", FILE).model_settings["a"]
        assert str(getattr(found.confinement(), name)) == value
    for value in bad:
        with pytest.raises(ConfError, match=re.escape(f"a.{name}={value} is out of range")):
            parse(f"{HEAD}[Model Settings]\na.{name}={value}\n", FILE)


def test_protections_are_lifted_by_name_and_with_a_reason() -> None:
    line = "a.unconfined=files , network:reads a feature store: ticket 12 "
    found = parse(f"{HEAD}[Model Settings]\n{line}\n", FILE).model_settings["a"].confinement()
    assert found.lifted == ("network", "files"), "in an order of ours: equal sets, equal releases"
    assert found.reason == "reads a feature store: ticket 12"
    assert found.as_text() == (
        "without protection of network, files (reads a feature store: ticket 12)"
    )
    assert ModelSettings().confinement().as_text() == ""


@pytest.mark.parametrize(
    "value",
    [
        "network",
        "network:",
        "network: ",
        ": a reason",
        "everything: a reason",
        "network,: a reason",
        "network files: a reason",
        "network: ends in a backslash\\",
        "network: a\x1b[31m color",
        f"network: {'x' * 201}",
    ],
)
def test_what_lifts_nothing(value: str) -> None:
    with pytest.raises(ConfError) as caught:
        parse(f"{HEAD}[Model Settings]\na.unconfined={value}\n", FILE)
    assert "network, files, devices, processes, system_calls" in caught.value.fix
    assert "a reason" in caught.value.fix


def test_the_longest_reason() -> None:
    text = f"{HEAD}[Model Settings]\na.unconfined=network: {'x' * 200}\n"
    assert parse(text, FILE).model_settings["a"].confinement().reason == "x" * 200
