"""The filters of the role give Ansible what was decided."""

from __future__ import annotations

import importlib.util
from dataclasses import fields
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from mms_server.fleet.rollout.canary_analysis import Thresholds
from tests.unit.roles.modules import ROOT
from tests.unit.roles.test_roles import read


def load() -> dict[str, Any]:
    file = ROOT / "roles" / "mms_fleet" / "filter_plugins" / "mms_fleet.py"
    spec = importlib.util.spec_from_file_location("mms_fleet_filters", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    filters: dict[str, Any] = module.FilterModule().filters()
    return filters


FILTERS = load()
DEFAULTS = read(ROOT / "roles" / "mms_fleet" / "defaults" / "main.yml")
VARIABLES = read(ROOT / "roles" / "mms_fleet" / "vars" / "main.yml")
STEP = {"number": 1, "of": 1, "hosts": ["a"], "soaks": True}


@pytest.mark.parametrize(
    ("serial", "sizes"), [("1,50%", [1, 2, 1]), ("50%", [2, 2]), (3, [3, 1]), ([1, "100%"], [1, 3])]
)
def test_steps_come_from_a_list_or_a_text_of_the_command_line(
    serial: Any, sizes: list[int]
) -> None:
    steps = FILTERS["mms_batches"](list("abcd"), serial, [], 1)
    assert [len(step["hosts"]) for step in steps] == sizes


def test_what_is_refused_names_its_cause() -> None:
    with pytest.raises(AnsibleFilterError, match="neither a number of hosts"):
        FILTERS["mms_batches"](["a"], "x", [], 1)


def test_a_step_is_judged_by_what_became_of_its_hosts() -> None:
    judge = FILTERS["mms_batch_failure"]
    assert judge(STEP, {"a": {"changed": True, "error": "", "put_back": None}}) == ""
    assert judge(STEP, {"a": {"error": "boom"}}) == "a: boom"
    assert "lost during the change" in judge(STEP, {"b": {"error": ""}})
    # What has not begun has no outcome yet.
    assert "lost during the change" in judge(STEP, {"a": {}})


def test_the_gate_reads_the_variables_of_the_role_and_skips_hosts_without_metrics() -> None:
    limits = {
        name: str(DEFAULTS[f"mms_fleet_gate_{name}"])
        for name in ("errors", "p99_ratio", "p99_slack_s", "min_requests", "restarts")
    }
    bad = (
        "# TYPE mms_predictions counter\n"
        'mms_predictions_total{model="m",code="200"} 90\n'
        'mms_predictions_total{model="m",code="500"} 10\n'
    )
    looks = {
        "past": {"a": {}},
        "start": {"a": {"metrics": "", "status": {}}},
        "last": {"a": {}},
        "now": {"a": {"metrics": bad, "status": {}}, "b": {"metrics": "", "status": {}}},
    }
    verdict = FILTERS["mms_gate_verdict"](["a"], looks, limits)
    assert "10.0% of 100 answers" in verdict["reasons"][0]


def test_this_run_is_alive_and_no_lease_is_no_dead_run() -> None:
    run = FILTERS["mms_run_identity"]("")
    assert FILTERS["mms_run_is_gone"](run) is False
    assert FILTERS["mms_run_is_gone"](None) is False


def test_hosts_without_an_answer_are_in_the_table() -> None:
    row = {"inventory_hostname": "a", "__mms_fleet_host_status": {"rc": 4}}
    states = FILTERS["mms_host_states"]([row])
    assert FILTERS["mms_fleet_table"](states, ["a", "b"])[1:] == [
        "a     unreachable",
        "b     unreachable",
    ]


def test_a_host_with_a_plan_has_its_drift_in_its_state() -> None:
    row = {
        "inventory_hostname": "a",
        "__mms_fleet_host_status": {"stdout": '{"generation": 3}'},
        "__mms_fleet_host_plan": {
            "stdout": '{"changed": true, "models": [{"model": "m", "action": "load"}]}'
        },
    }
    assert FILTERS["mms_host_states"]([row])["a"]["drift"] == "m"


def test_hosts_that_were_reached_and_not_begun_are_not_touched() -> None:
    outcomes = {"a": {"changed": False, "error": "boom", "put_back": True}, "b": {}}
    done = FILTERS["mms_run_summary"](outcomes, ["a", "b", "c"], "a: boom", 7, 6)
    assert "Not touched: b." in done["lines"]
    assert any(line.startswith("Unreachable: c;") for line in done["lines"])


@pytest.mark.parametrize(
    ("given", "looks", "pause_s", "lease_s"),
    [
        ({}, 3, 20, 600 + 60 + 1800),
        ({"mms_fleet_soak_pause_s": 4, "mms_fleet_soak_looks": 2}, 2, 4, 600 + 8 + 1800),
        ({"mms_fleet_soak_looks": 5}, 5, 20, 600 + 100 + 1800),
        # Inventories and command lines of version 0.1.
        ({"mms_fleet_soak_s": 600}, 3, 200, 600 + 600 + 1800),
        ({"mms_fleet_soak_s": "8", "mms_fleet_soak_looks": "2"}, 2, 4, 600 + 8 + 1800),
        ({"mms_fleet_soak_s": 0}, 3, 0, 600 + 1800),
        ({"mms_fleet_soak_s": 60, "mms_fleet_soak_looks": 0}, 0, 60, 600 + 1800),
    ],
)
def test_the_pause_before_a_look_of_the_gate(
    given: dict[str, Any], looks: int, pause_s: int, lease_s: int
) -> None:
    role = ROOT / "roles" / "mms_fleet"
    variables = {**DEFAULTS, **read(role / "vars" / "main.yml"), **given}
    trusted = {
        name: trust_as_template(each) if isinstance(each, str) else each
        for name, each in variables.items()
    }
    templar = Templar(DataLoader(), variables=trusted)

    def value(text: str) -> int:
        return int(templar.template(trust_as_template(text)))

    watch = read(role / "tasks" / "check_canaries.yml")[0]["block"][0]["ansible.builtin.wait_for"]
    loop = read(role / "tasks" / "watch_canaries.yml")[2]["loop"]
    assert value(watch["timeout"]) == pause_s
    assert value(f"{loop.removesuffix(' }}')} | length }}}}") == looks
    assert value("{{ __mms_fleet_lease_valid_s }}") == lease_s


def test_each_criterion_of_the_gate_has_its_variable_and_takes_effect() -> None:
    handed_over = VARIABLES["__mms_fleet_gate_thresholds"]
    criteria = {row.name: row.default for row in fields(Thresholds)}
    assert handed_over == {name: f"{{{{ mms_fleet_gate_{name} }}}}" for name in criteria}
    prefix = "mms_fleet_gate_"
    variables = {
        name.removeprefix(prefix): value
        for name, value in DEFAULTS.items()
        if name.startswith(prefix)
    }
    assert variables == criteria
