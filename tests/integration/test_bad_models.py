"""Bad models on a host that serves another model under load.

A model that fails before the switch gets no request. A failure after it is contained, gets a death
certificate and is named to the client. The clients of the other model notice nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import lab
from tests.fixtures import bad_models
from tests.fixtures.bad_models import BAD, BAD_MODELS, GOOD, Outcome, Where
from tests.integration import changes
from tests.integration.load import Load, Request

MEMORY_MAX = "400M"
GATEWAY_TIMEOUT = 504
EARLY = (Outcome.NEVER_READY, Outcome.NOT_IN_TIME)
SAMPLE_EARLY = ("import-error", "load-segv", "load-eats-memory", "golden-digit")
SAMPLE_LATE = ("segv", "eats-memory", "kills-master", "closes-descriptors")
TOGETHER = 4
"""The number of bad models served at a time: the host's memory does not suffice for more."""

IMPATIENT = """\
[Service]
TimeoutStartSec=25
"""


def chosen(sample: Sequence[str], outcomes: Sequence[Outcome], every: bool) -> list[str]:
    """Return the bad models with these outcomes: all if ``every``, else those in ``sample``."""
    found = [name for name, bad_model in BAD_MODELS.items() if bad_model.outcome in outcomes]
    return [name for name in found if every or name in sample]


def serve(machine: lab.Machine, directory: Path, names: Sequence[str]) -> str:
    """Copy bad models to a host, beside the digits model; return the mms.conf with all of them."""
    models = {name: bad_models.build(name, directory) for name in names}
    limits = "".join(
        f"{name}.memory_max={MEMORY_MAX}\n" for name in names if BAD_MODELS[name].limited
    )
    rest = f"--workers\n1\n[Model Settings]\n{limits}"
    return changes.put(machine, "bad", {"digits": lab.MODELS / "digits.model", **models}, rest)


def ask(machine: lab.Machine, name: str, order: int, request_id: str) -> requests.Response:
    return requests.post(
        f"{machine.url}/{name}/predict",
        data={"order": f"[[{order}]]"},
        headers={"X-Request-Id": request_id, "Accept": "application/json"},
        timeout=90,
    )


def deaths(machine: lab.Machine, name: str) -> list[dict[str, Any]]:
    """Return the death certificates that `mms why` finds."""
    answer = json.loads(lab.on(machine, f"mms why {name} --json"))
    rows: list[dict[str, Any]] = answer["deaths"]
    return rows


@pytest.fixture
def digits(last: lab.Machine) -> Iterator[Load]:
    """Load on the good model; afterwards all its requests must have right answers."""
    request = Request.of_image(last.address, "digits", lab.SEVEN, "7")
    with Load([request], busy=2, idle=4) as load:
        load.wait_for_answers(10)
        yield load
        load.wait_for_answers(10)
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report


@pytest.fixture
def impatient(last: lab.Machine) -> Iterator[None]:
    """A short start timeout of the units."""
    place = "/run/systemd/system/mms@.service.d"
    lab.on(last, f"install -d {place}")
    lab.on(last, f"tee {place}/impatient.conf", stdin=IMPATIENT)
    lab.on(last, "systemctl daemon-reload")
    yield
    lab.on(last, f"rm -r {place}")
    lab.on(last, "systemctl daemon-reload")


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("digits", "impatient")
def test_a_model_that_fails_before_the_switch_gets_no_request(
    last: lab.Machine, tmp_path: Path, every_step: bool
) -> None:
    before = changes.releases(last)
    for name in chosen(SAMPLE_EARLY, EARLY, every_step):
        done = changes.apply(last, serve(last, tmp_path, [name]))
        assert done.returncode == 4, (name, done)
        assert f"model {name}, step" in done.stderr, name
        assert "Fix: " in done.stderr, name
        assert "The host serves what it served before." in done.stderr, name
        assert ask(last, name, GOOD, f"early-{name}").status_code == 404, name
        assert changes.releases(last) == before, name
        assert changes.healthy(last), name
        found = deaths(last, name)
        assert found, name
        assert found[0]["cause"] == BAD_MODELS[name].cause, (name, found[0])
        left = lab.on(last, "systemctl list-units --all --plain --no-legend 'mms@*.service'")
        assert name not in left


@pytest.mark.timeout(2400)
@pytest.mark.usefixtures("digits")
def test_a_later_failure_is_contained_and_named(
    last: lab.Machine, tmp_path: Path, every_step: bool
) -> None:
    late = [outcome for outcome in Outcome if outcome not in EARLY]
    for names in batched_names(chosen(SAMPLE_LATE, late, every_step)):
        changes.applied(last, serve(last, tmp_path, names))
        for name in names:
            misbehave(last, name)
        assert changes.status(last)["healthy"]


def batched_names(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield names, a few at a time."""
    yield from (tuple(names[n : n + TOGETHER]) for n in range(0, len(names), TOGETHER))


def misbehave(machine: lab.Machine, name: str) -> None:
    """Send a request on which a bad model fails, and check the outcome."""
    bad_model = BAD_MODELS[name]
    assert ask(machine, name, GOOD, f"before-{name}").status_code == 200, name
    answer = ask(machine, name, BAD, f"bad-{name}")
    if bad_model.where is Where.IDLE:
        assert answer.status_code == 200, (name, answer.text)
        certified(machine, name, name)
    changes.wait_until(lambda: answers(machine, name), f"{name} answers again", 90)
    if bad_model.where is Where.IDLE:
        return
    if bad_model.outcome is Outcome.WORKER_DIES:
        is_refused_at_last(machine, name, answer)
    elif bad_model.outcome is Outcome.MASTER_DIES:
        assert deaths(machine, name), name
    elif bad_model.outcome is Outcome.ERROR:
        assert answer.status_code == bad_model.status, (name, answer.status_code)
        assert not deaths(machine, name), name
    else:
        assert answer.status_code == 200, (name, answer.status_code)
    assert ask(machine, name, GOOD, f"after-{name}").status_code == 200, name


def certified(machine: lab.Machine, name: str, asked: str) -> list[dict[str, Any]]:
    """Return the death certificates of this model that `mms why ASKED` finds."""
    changes.wait_until(lambda: bool(deaths(machine, asked)), f"{asked} is certified", 120)
    found = deaths(machine, asked)
    assert {row["model"] for row in found} == {name}
    assert {row["cause"] for row in found} == {BAD_MODELS[name].cause}, (name, found)
    return found


def is_refused_at_last(machine: lab.Machine, name: str, answer: requests.Response) -> None:
    """Send the request again that killed a worker; a request that was only slow is not refused."""
    found = certified(machine, name, f"bad-{name}")
    if BAD_MODELS[name].status == GATEWAY_TIMEOUT:
        # The worker answers the client and then ends: its end is found by the request's id.
        assert answer.status_code == GATEWAY_TIMEOUT, (name, answer.text)
        assert f"bad-{name}" in answer.text, answer.text
        return
    assert answer.status_code >= 500 or answer.status_code == 422, (name, answer.text)
    assert any(row["id"] in answer.text for row in found), (name, answer.text)
    again = ask(machine, name, BAD, f"again-{name}")
    assert again.status_code == 422, (name, again.status_code, again.text)
    assert any(row["id"] in again.text for row in found), (name, again.text)


def answers(machine: lab.Machine, name: str) -> bool:
    """Return whether a bad model answers a good request."""
    return ask(machine, name, GOOD, f"wait-{name}").status_code == 200
