"""The steps of a change: every host once, canaries first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_server.core.errors import MMSError
from mms_server.fleet.rollout import rollout_batches

HOSTS = [f"h{number}" for number in range(1, 9)]
DEFAULT: list[int | str] = [1, "25%", "100%"]


def sizes(count: int, serial: list[int | str]) -> list[int]:
    hosts = [str(number) for number in range(count)]
    return [len(step.hosts) for step in rollout_batches.plan(hosts, serial, [], 1)]


@pytest.mark.parametrize(
    ("count", "serial", "wanted"),
    [
        (8, DEFAULT, [1, 2, 5]),
        (1, DEFAULT, [1]),
        (2, DEFAULT, [1, 1]),
        (3, DEFAULT, [1, 1, 1]),
        (100, DEFAULT, [1, 25, 74]),
        (5, [2], [2, 2, 1]),
        (5, ["40%"], [2, 2, 1]),
        (5, ["1%"], [1, 1, 1, 1, 1]),
        (3, [9], [3]),
        (0, DEFAULT, []),
    ],
)
def test_sizes_of_the_steps(count: int, serial: list[int | str], wanted: list[int]) -> None:
    assert sizes(count, serial) == wanted


def test_canaries_come_first_and_soak() -> None:
    found = rollout_batches.plan(HOSTS, DEFAULT, ["h5"], 1)
    assert found[0] == rollout_batches.Step(1, 3, ("h5",), soaks=True)
    assert found[1].hosts == ("h1", "h2")
    assert [step.soaks for step in found] == [True, False, False]


def test_hosts_that_may_be_ended_meanwhile_come_last() -> None:
    found = rollout_batches.plan(["auto", *HOSTS], DEFAULT, [], 1, ["auto"])
    assert [name for step in found for name in step.hosts] == [*HOSTS, "auto"]
    chosen = rollout_batches.plan(["auto", *HOSTS], DEFAULT, ["auto"], 1, ["auto"])
    assert chosen[0].hosts == ("auto",)


def test_unknown_canary_is_refused() -> None:
    with pytest.raises(MMSError, match="h9: to be changed first, but not among"):
        rollout_batches.plan(HOSTS, DEFAULT, ["h9"], 1)


@pytest.mark.parametrize("word", [0, -1, "0%", "101%", "x", "", "1.5", "%"])
def test_a_size_that_is_none_is_refused(word: int | str) -> None:
    with pytest.raises(MMSError, match="neither a number of hosts nor a percentage"):
        rollout_batches.plan(HOSTS, [word], [], 1)


def test_no_size_at_all_is_refused() -> None:
    with pytest.raises(MMSError, match="mms_serial is empty"):
        rollout_batches.plan(HOSTS, [], [], 1)


@given(
    st.integers(0, 300),
    st.lists(
        st.one_of(st.integers(1, 50), st.integers(1, 100).map("{}%".format)), min_size=1, max_size=5
    ),
)
def test_every_host_is_in_one_step(count: int, serial: list[int | str]) -> None:
    hosts = [str(number) for number in range(count)]
    found = rollout_batches.plan(hosts, serial, [], 1)
    assert [host for step in found for host in step.hosts] == hosts
    assert all(step.of == len(found) for step in found)


STEP = rollout_batches.Step(2, 3, ("a", "b"), soaks=False)


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        ({"a": "", "b": ""}, ""),
        ({"a": ""}, ""),
        ({"a": "", "b": "boom."}, "b: boom."),
        ({"b": "boom."}, "b: boom."),
        ({}, "a, b: lost during the change; nobody of step 2 is left to judge by."),
        ({"c": ""}, "a, b: lost during the change; nobody of step 2 is left to judge by."),
    ],
)
def test_when_the_steps_end(outcomes: dict[str, str], why: str) -> None:
    assert rollout_batches.failure(STEP, outcomes) == why
