"""What people read at the end of a run."""

from __future__ import annotations

from typing import Any

import pytest

from mms_server.fleet.rollout import summary

ROW = {
    "model": "digits",
    "release": "digits.3f2a91c0",
    "ready": True,
    "workers": 1,
    "memory_bytes": 200 * 1024**2,
    "up_s": 61,
}


def _words(text: str) -> list[str]:
    return text.split()


def state(**changes: Any) -> dict[str, Any]:
    return {"healthy": True, "generation": 3, "models": [ROW], **changes}


def test_the_table_has_a_line_a_model_and_names_who_did_not_answer() -> None:
    two = state(models=[ROW, {**ROW, "model": "b", "ready": False, "up_s": None}], healthy=False)
    lines = summary.fleet_table(
        ["h1", "h2", "h3", "h4"], {"h1": state(), "h2": two, "h4": state(models=[])}
    )
    assert lines[1].split() == _words("h1 healthy 3 digits 3f2a91c0 yes 1 200 MiB 1m 1s")
    assert lines[2].split()[:3] == ["h2", "NOT", "HEALTHY"]
    assert lines[3].split() == _words("b 3f2a91c0 NO 1 200 MiB -")
    assert lines[4].split() == ["h3", "unreachable"]
    assert lines[5].endswith("serves nothing")


def test_drift_is_shown_where_it_was_looked_for() -> None:
    lines = summary.fleet_table(["h1", "h2"], {"h1": state(drift="none"), "h2": state()})
    assert lines[0].endswith("DRIFT")
    assert lines[1].endswith("none")
    assert lines[2].endswith("?")


def outcome(
    *, changed: bool = False, error: str = "", put_back: bool | None = None
) -> dict[str, Any]:
    return {"changed": changed, "error": error, "put_back": put_back}


def test_a_good_run_names_who_was_away() -> None:
    done = summary.after_update(
        ["a", "b", "c"],
        {"a": outcome(changed=True), "b": outcome(changed=True)},
        cause="",
        number=7,
        restored=None,
    )
    assert done["result"] == "done"
    assert done["summary"] == "publication 7 is served: 2 of 3 hosts changed; unreachable: c"
    assert "Unreachable: c; with mms_service_self_heal they come" in done["lines"][1]


def test_nothing_to_do_is_said_so() -> None:
    done = summary.after_update(["a"], {"a": outcome()}, cause="", number=7, restored=None)
    assert done["lines"] == ["Done: publication 7 is served: nothing to change."]


def test_of_hosts_that_go_back_alone_no_publication_is_named() -> None:
    outcomes = {"a": outcome(changed=True)}
    done = summary.after_update(["a"], outcomes, cause="", number=0, restored=None)
    assert done["lines"] == ["Done: 1 of 1 hosts changed."]


def test_a_failed_run_says_what_serves_what_and_what_to_do() -> None:
    outcomes = {
        "a": outcome(changed=True, put_back=True),
        "b": outcome(error="boom", put_back=True),
        "c": outcome(),
        "d": outcome(changed=True, put_back=False),
    }
    done = summary.after_update(list("abcde"), outcomes, cause="b: boom", number=7, restored=6)
    assert done["result"] == "failed, not all put back"
    assert done["lines"] == [
        "FAILED: b: boom",
        "The share holds publication 6 again.",
        "Serve again what they served: a, b.",
        (
            "COULD NOT BE PUT BACK: d: run `mms rollback` there, "
            "or `mms apply` with the mms.conf of the share."
        ),
        "Not touched: c.",
        "Unreachable: e; not changed by this run, or lost during it.",
        "Next: correct the cause and run the playbook again.",
    ]


@pytest.mark.parametrize(
    ("outcome", "cause", "number"),
    [
        ({"changed": True, "error": "", "put_back": None}, "", 7),
        ({}, "", 7),
        ({"changed": True, "error": "", "put_back": True}, "boom", 6),
        ({"changed": False, "error": "boom", "put_back": True}, "boom", 6),
        ({"changed": True, "error": "", "put_back": False}, "boom", 0),
        ({"changed": True, "error": "boom", "put_back": None}, "", 0),
        ({}, "boom", 0),
    ],
)
def test_the_publication_that_a_host_was_brought_to(
    outcome: dict[str, Any], cause: str, number: int
) -> None:
    assert summary.brought_to(outcome, cause, 7, 6) == number


def test_what_commands_printed_and_what_they_did_not() -> None:
    assert summary.answer_of({"stdout": '{"a": 1}'}) == {"a": 1}
    for result in (None, {}, {"stdout": "x"}, {"stdout": '{"error": {}}'}, {"stdout": "[]"}):
        assert summary.answer_of(result) == {}


def test_drift_names_the_models() -> None:
    keep = {"model": "a", "action": "keep", "repairs": []}
    assert summary.drift_of({}) == "unknown"
    assert summary.drift_of({"models": [keep], "changed": False}) == "none"
    assert summary.drift_of({"models": [keep], "changed": True}) == "leftovers"
    other = [{**keep, "action": "replace"}, {**keep, "model": "b", "repairs": ["link"]}]
    assert summary.drift_of({"models": other, "changed": True}) == "a, b"


def test_many_names_are_cut_short() -> None:
    hosts = [f"h{number}" for number in range(9)]
    done = summary.after_update(hosts, {}, cause="", number=1, restored=None)
    assert "h0, h1, h2 and 6 more" in done["summary"]
