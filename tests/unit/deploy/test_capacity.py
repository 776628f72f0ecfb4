"""The capacity forecast: memory and seconds of a change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mms_server.deploy.capacity import Capacity, Forecast, forecast
from mms_server.deploy.plan import ModelAction, ObservedState, Plan
from mms_server.host import resource_profile
from mms_server.host.generations import Generation
from mms_server.host.release import Release
from mms_server.host.resource_profile import (
    ENGINE_BYTES,
    WORKER_BYTES,
    MeasuredRelease,
    ResourceNeed,
    ResourceProfile,
    estimate_need,
)
from mms_server.host.supervisor import UnitState

UP = UnitState("active", "active", enabled=True, half_enabled=True)
RELEASE = Release("m", "0" * 64, 2, "/opt")


def changing(*rows: tuple[str, int, int], room: int, **more: Any) -> Forecast:
    """Forecast a change of each (model, bytes now, bytes needed), with ``room`` bytes free."""
    old = {f"{model}.old": now for model, now, _needed in rows if now}
    used = sum(old.values()) + sum(more.get("warm", {}).values())
    capacity = Capacity(
        used + room + more.get("reserve", 0),
        room + more.get("reserve", 0),
        more.get("reserve", 0),
        {f"{model}.new": ResourceNeed(needed, needed, 10) for model, _now, needed in rows},
        {**old, **more.get("warm", {})},
    )
    warm = list(more.get("warm", {}))
    observed = ObservedState(
        Generation(1, "", "", "", {name.partition(".")[0]: name for name in old}),
        dict.fromkeys([*old, *warm], UP),
        {name.partition(".")[0]: name for name in old},
        {name: 100.0 + place for place, name in enumerate(warm)},
        50.0,
    )
    plan = Plan(
        tuple(
            ModelAction(model, "replace" if now else "load", f"{model}.new", None)
            for model, now, _needed in rows
        ),
        leftovers=tuple(old),
    )
    return forecast(plan, observed, capacity)


def test_releases_that_fit_start_beside_the_old_ones() -> None:
    found = changing(("a", 100, 110), ("b", 50, 40), room=150)
    assert (found.gap, found.evicted, found.lacking_bytes) == ((), (), 0)
    assert (found.memory.before, found.memory.during, found.memory.after) == (150, 300, 150)
    assert found.seconds == 20
    assert found.refusal(allow_gap=False) is None


def test_one_byte_less_and_there_is_a_gap() -> None:
    found = changing(("a", 100, 110), ("b", 50, 40), room=149)
    assert found.gap == ("b",)
    assert found.short_bytes == 1
    assert found.refusal(allow_gap=True) is None
    refusal = found.refusal(allow_gap=False)
    assert refusal is not None
    assert (refusal.exit_code, refusal.where()) == (3, "model b")
    assert "--allow-gap" in refusal.fix
    assert "about 10 s" in refusal.fix
    assert found.memory.during == 260


def test_the_reserve_is_not_used() -> None:
    assert changing(("a", 100, 100), room=100, reserve=30).gap == ()
    assert changing(("a", 100, 100), room=99, reserve=30).gap == ("a",)


def test_shrinking_models_change_before_growing_ones() -> None:
    found = changing(("a", 100, 160), ("b", 100, 50), room=10)
    assert found.gap == ("b", "a")
    assert found.lacking_bytes == 0
    assert found.memory.during == 210


@pytest.mark.parametrize(("room", "lacking"), [(60, 0), (59, 1)])
def test_a_release_that_does_not_fit_alone(room: int, lacking: int) -> None:
    found = changing(("a", 100, 160), room=room)
    assert found.lacking_bytes == lacking
    refusal = found.refusal(allow_gap=True)
    assert (refusal is None) == (not lacking)
    if refusal:
        assert "even after everything that is replaced has ended" in refusal.cause


def test_a_first_load_that_does_not_fit() -> None:
    assert changing(("a", 0, 100), room=100).gap == ()
    assert changing(("a", 0, 100), room=99).lacking_bytes == 1


def test_as_few_warm_releases_as_needed_end_first() -> None:
    warm = {"x.1": 30, "y.1": 30}
    assert changing(("a", 100, 100), room=100, warm=warm).evicted == ()
    assert changing(("a", 100, 100), room=99, warm=warm).evicted == ("x.1",)
    assert changing(("a", 100, 100), room=69, warm=warm).evicted == ("x.1", "y.1")
    found = changing(("a", 100, 100), room=39, warm=warm)
    assert (found.evicted, found.gap) == (("x.1", "y.1"), ("a",))


def test_a_loaded_release_needs_no_memory() -> None:
    capacity = Capacity(100, 0, 0, {"a.new": ResourceNeed(50, 50, 10)}, {"a.new": 50})
    plan = Plan((ModelAction("a", "replace", "a.new", "a.old"),))
    found = forecast(plan, ObservedState(states={"a.new": UP}), capacity)
    assert (found.starts, found.gap, found.seconds) == ({}, (), 0)


def test_the_rule_for_releases_without_a_profile() -> None:
    small, large = estimate_need(RELEASE, 0, None), estimate_need(RELEASE, 10**8, None)
    assert small.memory_bytes == ENGINE_BYTES + 2 * WORKER_BYTES
    assert large.memory_bytes - small.memory_bytes == 350_000_000
    assert (small.ready_s, large.ready_s) == (5, 6)
    on_gpu = estimate_need(replace(RELEASE, gpu=0), 10**8, None)
    assert on_gpu.memory_bytes == 3 * ENGINE_BYTES + 700_000_000, "workers share nothing"


def test_a_release_differs_from_the_rule_as_its_predecessor_did() -> None:
    old = MeasuredRelease(RELEASE, 10**8, ResourceProfile(100_000_000, 120_000_000, 2.0))
    same = estimate_need(RELEASE, 10**8, None, old)
    assert same == ResourceNeed(100_000_000, 120_000_000, 2.0)
    larger = estimate_need(replace(RELEASE, workers=3), 2 * 10**8, None, old)
    assert larger.memory_bytes == 100_000_000 + 350_000_000 + WORKER_BYTES
    assert larger.ready_s == 3.0
    smaller = estimate_need(RELEASE, 10**6, None, old)
    assert (smaller.memory_bytes, smaller.ready_s) == (10**6, pytest.approx(1.01))
    on_gpu = replace(RELEASE, gpu=0)
    assert estimate_need(on_gpu, 10**8, None, old) == estimate_need(on_gpu, 10**8, None), (
        "another kind"
    )


def test_resnet18_as_it_was_measured() -> None:
    """The measurement: 289 MB for one process that has loaded and run a network of 45 MB."""
    found = estimate_need(replace(RELEASE, workers=0), 45 * 10**6, None)
    assert found.memory_bytes == pytest.approx(289e6, rel=0.05)


def test_a_measured_profile_is_used(tmp_path: Path) -> None:
    file = tmp_path / "r" / "measured.json"
    assert resource_profile.read(file) is None
    seen = ResourceProfile(5, 7, 1.5)
    resource_profile.write(file, seen)
    assert resource_profile.read(file) == seen
    assert estimate_need(RELEASE, 10**9, seen) == ResourceNeed(5, 7, 1.5, measured=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"memory_bytes": "x", "peak_bytes": 1, "ready_s": 1}',
        '{"memory_bytes": 0, "peak_bytes": 1, "ready_s": 1}',
        '{"memory_bytes": 2, "peak_bytes": 1, "ready_s": 1}',
        '{"memory_bytes": 1, "peak_bytes": 1, "ready_s": NaN}',
    ],
)
def test_a_damaged_profile_is_ignored(tmp_path: Path, text: str) -> None:
    file = tmp_path / "measured.json"
    file.write_text(text)
    assert resource_profile.read(file) is None
