"""Changes of the fleet under steady load: all of a change, or it is reverted."""

from __future__ import annotations

import http.server
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import lab
from tests.integration import changes
from tests.integration.conftest import Variant, service_file
from tests.integration.load import Load, Report

pytestmark = pytest.mark.fleet

DEGRADING = b"""
from mms.model_service import mxnet_vision_service


class Degrading(mxnet_vision_service.MXNetVisionService):
    answered = 0

    def _inference(self, data):
        Degrading.answered += 1
        if Degrading.answered > 20:
            raise RuntimeError("worn out")
        return super()._inference(data)
"""


HOOK = """\
- name: Remember the hosts of the step
  ansible.builtin.copy:
    content: "{{ mms_fleet_step.hosts | join(' ') }}"
    dest: "{{ mms_fleet_hooks }}/step-{{ mms_fleet_step.number }}"
  delegate_to: localhost
  become: false
  run_once: true
"""


def add_a_note(members: changes.Members) -> None:
    members["note.txt"] = b"another archive, the same model\n"


def break_the_service(members: changes.Members) -> None:
    members[service_file(members)] = b'raise RuntimeError("this service cannot be loaded")\n'


def degrade(members: changes.Members) -> None:
    members[service_file(members)] = DEGRADING


def fleet(machine: lab.Machine, *words: str) -> dict[str, Any]:
    """Return the JSON of a command of ``mms-fleet``."""
    answer: dict[str, Any] = json.loads(lab.on(machine, f"mms-fleet {' '.join(words)} --json"))
    return answer


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield a URL on loopback, and the list of the messages sent to it."""
    told: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/run", told
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def archive_on_the_share(machine: lab.Machine) -> str:
    return lab.on(machine, "sha256sum /efs/models/digits.model").split()[0]


def assert_all_answered(report: Report) -> None:
    assert not report.failed, report
    assert not report.wrong, report


@pytest.mark.timeout(1200)
def test_an_update_that_was_killed_is_completed_and_rolled_back(
    load: Load,
    machines: list[lab.Machine],
    variant: Callable[[Variant], list[str]],
    tmp_path: Path,
) -> None:
    canary, last = machines[0], machines[-1]
    before = [changes.live(machine) for machine in machines]
    original = archive_on_the_share(canary)
    arguments = variant(add_a_note)
    with load:
        load.wait_for_answers(40)
        first = lab.start_playbook("playbooks/update_models.yml", *arguments)
        try:
            changes.wait_until(lambda: changes.live(canary) != before[0], "the canary changes", 300)
        finally:
            first.send_signal(signal.SIGKILL)
            first.communicate(timeout=60)
        # Hosts do not take over an unfinished publication by themselves.
        interrupted = fleet(last, "state")
        (tmp_path / "before_step.yml").write_text(HOOK)
        with webhook() as (url, told):
            updated = lab.playbook(
                "playbooks/update_models.yml",
                *arguments,
                f"--extra-vars=mms_fleet_hooks={tmp_path}",
                f"--extra-vars=mms_fleet_webhook={url}",
            )
        after = [changes.live(machine) for machine in machines]
        state = fleet(canary, "state")
        rolled_back = lab.playbook("playbooks/rollback.yml")
        load.wait_for_answers(40)
    assert interrupted["approved"] != interrupted["current"]
    assert updated.returncode == 0, updated.stdout
    assert f"publication {state['approved']} is served" in updated.stdout
    assert state["lease"] is None
    steps = [(tmp_path / f"step-{number}").read_text() for number in (1, len(machines))]
    assert steps == [canary.name, last.name]
    assert [(row["what"], row["result"]) for row in told] == [("update", "done")]
    assert url not in updated.stdout
    assert all(new != old for new, old in zip(after, before, strict=True))
    assert rolled_back.returncode == 0, rolled_back.stdout
    assert [changes.live(machine) for machine in machines] == before
    assert archive_on_the_share(canary) == original
    records = fleet(canary, "journal", "--last", "2")["records"]
    assert [(each["what"], each["result"]) for each in records] == [
        ("update", "done"),
        ("rollback", "done"),
    ]
    assert records[0]["hosts"]
    assert_all_answered(load.report)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_an_archive_that_does_not_load_is_reverted(
    load: Load, machines: list[lab.Machine], variant: Callable[[Variant], list[str]]
) -> None:
    before = [changes.live(machine) for machine in machines]
    original, approved = archive_on_the_share(machines[0]), fleet(machines[0], "state")["approved"]
    arguments = variant(break_the_service)
    with load:
        load.wait_for_answers(40)
        done = lab.playbook("playbooks/update_models.yml", *arguments)
        load.wait_for_answers(40)
    output = " ".join(done.stdout.split())
    assert done.returncode != 0
    for part in (
        f"FAILED: {machines[0].name}: model digits, step",
        "this service cannot be loaded",
        f"The share holds publication {approved} again.",
        f"Not touched: {machines[-1].name}.",
    ):
        assert part in output, done.stdout
    assert [changes.live(machine) for machine in machines] == before
    assert archive_on_the_share(machines[0]) == original
    for machine in machines:
        left = lab.on(machine, "systemctl list-units --all --plain --no-legend 'mms@*.service'")
        assert sum("active" in line.split() for line in left.splitlines()) >= 1, left
    assert_all_answered(load.report)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_model_that_degrades_under_traffic_does_not_pass_the_canary(
    load: Load, machines: list[lab.Machine], variant: Callable[[Variant], list[str]]
) -> None:
    before = [changes.live(machine) for machine in machines]
    original = archive_on_the_share(machines[0])
    # The verifying request would see the fault too, before the requests of clients are counted.
    arguments = [*variant(degrade), "--extra-vars=mms_verify_model="]
    with load:
        load.wait_for_answers(40)
        done = lab.playbook("playbooks/update_models.yml", *arguments)
        answered = len(load.report.answers)
        load.wait_for_answers(40)
    output = " ".join(done.stdout.split())
    assert done.returncode != 0
    for part in (
        f"FAILED: canary {machines[0].name}: model digits:",
        "answers of the canary are errors, 0.0% on the other hosts",
        f"Serve again what they served: {machines[0].name}.",
    ):
        assert part in output, done.stdout
    assert [changes.live(machine) for machine in machines] == before
    assert archive_on_the_share(machines[0]) == original
    failed = load.report.failed
    assert failed, "the canary's clients see what the gate is to see"
    assert {answer.host for answer in failed} == {machines[0].address}, load.report
    assert_all_answered(Report(load.report.answers[answered + len(machines) * 8 :]))


@pytest.mark.timeout(300)
def test_a_second_operator_is_refused_with_the_name_of_the_first(
    machines: list[lab.Machine],
) -> None:
    before = [changes.live(machine) for machine in machines]
    who = "--owner ann --controller laptop --process 7 --purpose update"
    fleet(machines[-1], f"begin --run ann {who}")
    try:
        done = lab.playbook("playbooks/update_models.yml")
    finally:
        fleet(machines[-1], "end --run ann")
    assert done.returncode != 0
    assert "the fleet is being changed by ann@laptop" in " ".join(done.stdout.split())
    assert [changes.live(machine) for machine in machines] == before


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_host_that_missed_an_update_is_brought_up_to_date(last: lab.Machine) -> None:
    right = changes.releases(last)
    approved = fleet(last, "state")["approved"]
    # The state after a missed update: the host serves something else, and has no publication.
    other = changes.put(
        last, "away", {"digits": lab.MODELS / "digits.model", "old": lab.MODELS / "digits.model"}
    )
    changes.applied(last, other)
    lab.on(last, "rm -f /var/lib/mms/publication")
    fleet(last, "hold --reason test")
    assert "the fleet is held: test" in fleet(last, "heal")["why"]
    assert changes.releases(last) != right
    fleet(last, "resume")
    lab.on(last, "systemctl start mms-apply.service", timeout_s=300)
    assert changes.releases(last) == right
    assert fleet(last, "state")["host"] == approved
    # A later change by an operator stays.
    changes.applied(last, other)
    assert not fleet(last, "heal")["changed"]
    assert changes.releases(last) != right
