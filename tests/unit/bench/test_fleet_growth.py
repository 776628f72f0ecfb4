"""The time of an update: calculated as by hand, from what is counted in the roles."""

from __future__ import annotations

import pytest

from tests.bench import fleet_growth
from tests.bench.fleet_growth import Costs, Kind

COSTS = Costs(start=10, local=0.01, remote=0.1, answer=0.5, fetch=1, load=10, pause=20, looks=3)
DEFAULT = (1, "25%", "100%")


@pytest.mark.parametrize(
    ("kind", "hosts", "forks", "wanted"),
    [
        # Three steps of one host each: start, fetch, three loads, watched once.
        (None, 3, 20, 10 + 1 + 3 * 10 + 60),
        (Kind("run", "once", remote=True), 3, 20, 101 + 0.5),
        (Kind("run", "all", remote=False), 3, 20, 101 + 3 * 0.01),
        (Kind("update_host", "step", remote=True), 3, 20, 101 + 3 * 0.5),
        (Kind("run_batch", "all", remote=True), 3, 20, 101 + 3 * 0.5),
        (Kind("check_canaries", "once", remote=True), 3, 20, 101 + 3 * 0.5),
        # 1, 25 and 74 hosts, as many at a time as there are forks.
        (None, 100, 100, 101),
        (None, 100, 5, 10 + 20 + (1 + 5 + 15) * 10 + 60),
        # With enough forks the controller is what a task waits for.
        (Kind("run", "all", remote=True), 100, 100, 101 + 100 * 0.1),
        (Kind("update_host", "step", remote=True), 100, 100, 101 + 0.5 + 25 * 0.1 + 74 * 0.1),
    ],
)
def test_seconds_are_those_of_a_calculation_by_hand(
    kind: Kind | None, hosts: int, forks: int, wanted: float
) -> None:
    counted = {kind: 1} if kind else {}
    assert fleet_growth.seconds(counted, COSTS, hosts, forks, DEFAULT) == pytest.approx(wanted)


def test_the_tasks_of_the_roles_are_counted() -> None:
    counted = fleet_growth.count_all()
    # Two of collect_snapshot.yml, and the wait for traffic.
    assert counted[Kind("check_canaries", "all", remote=True)] == 2
    assert counted[Kind("check_canaries", "once", remote=True)] == 1
    # Check and serve with mms_models, forget the publication, /ping, and a prediction.
    assert counted[Kind("update_host", "step", remote=True)] == 5
    # The conf is checked; state, lease, four that prepare to publish, publish, the end.
    assert counted[Kind("run", "once", remote=True)] == 9
    # A look, the prefetch, the note, the table.
    assert counted[Kind("run", "all", remote=True)] == 5
    assert {kind.hosts for kind in counted if kind.part == "update_host"} == {"step"}


def test_what_only_a_failure_needs_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = fleet_growth.count_all()
    monkeypatch.setattr(fleet_growth, "_LEFT_OUT", ("run_hook.yml",))
    with_putting_back = fleet_growth.count_all()
    assert with_putting_back > usual
