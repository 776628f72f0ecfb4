"""Fixtures of the tests on a fleet behind a balancer, which `make fleet` boots and configures."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mms_server.core.formatting import table
from testhosts.inventory import read
from tests import lab
from tests.integration import changes
from tests.integration.load import Load, Report, Request

PORT = 80
QUIET_S = 10.0
"""The seconds of load before a change, for comparison."""
MODELS = ("digits", "numbers")
_NAMED = "digits=/efs/models/digits.model"
_BOTH = " ".join(f"{model}=/efs/models/{model}.model" for model in MODELS)

Change = Callable[[changes.Members], None]


@dataclass(frozen=True)
class Behind:
    """The serving hosts, the balancer, and the arguments for playbooks."""

    machines: list[lab.Machine]
    balancer: lab.Machine
    arguments: list[str]

    @property
    def address(self) -> str:
        return f"{self.balancer.address}:{PORT}"

    def play(self, name: str, *arguments: str, timeout_s: float = 1200) -> str:
        """Run a playbook, which must succeed; return its output."""
        done = lab.playbook(
            f"playbooks/{name}.yml", *self.arguments, *arguments, timeout_s=timeout_s
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@dataclass
class Wanted:
    """A directory with an ``mms.conf`` of two models and their archives, to be published."""

    directory: Path
    archives: dict[str, Change] = field(default_factory=dict)
    settings: Sequence[str] = ()

    def arguments(self) -> list[str]:
        """Write the files; return the arguments that let a playbook publish them."""
        self.directory.mkdir(exist_ok=True)
        for model in MODELS:
            change = self.archives.get(model, lambda _members: None)
            changes.variant(self.directory / f"{model}.model", change)
        conf = (lab.MODELS / "mms.conf").read_text("utf-8").replace(_NAMED, _BOTH)
        rows = "".join(f"{row}\n" for row in self.settings)
        text = f"{conf}\n[Model Settings]\n{rows}" if rows else conf
        (self.directory / "mms.conf").write_text(text, encoding="utf-8")
        return [
            f"--extra-vars=mms_service_archives={self.directory}",
            f"--extra-vars=mms_service_conf={self.directory / 'mms.conf'}",
        ]


def in_words(name: str) -> Change:
    """Return a change that lets the model answer with words; each name makes another archive."""

    def change(members: changes.Members) -> None:
        changes.in_words(members)
        members["note.txt"] = name.encode()

    return change


@pytest.fixture(scope="session")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Behind:
    """The fleet with its balancer; the test is skipped if no balancer is named."""
    name = os.environ.get("MMS_TEST_BALANCER")
    if not name:
        pytest.skip("MMS_TEST_BALANCER names no balancer: part of `make fleet`")
    balancer = lab.Machine(name, read(lab.INVENTORY).hosts[name].address)
    values = {
        "mms_balancers": name,
        "haproxy_lb_group": lab.GROUP,
        "haproxy_lb_bind": [f"*:{PORT}"],
        "mms_balancer_provider": "haproxy",
        "mms_balancer_haproxy_hosts": [name],
        "mms_verify_balancer": f"{balancer.address}:{PORT}",
        # Both versions of the archives are right; the load distinguishes them.
        "mms_verify_class": "",
        # The content of a package mirror is not tested.
        "mms_upgrade_packages": False,
        "mms_upgrade_reboot": "always",
    }
    file = tmp_path_factory.mktemp("balancer") / "values.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    fleet = Behind(lab.fleet(), balancer, [f"--extra-vars=@{file}"])
    fleet.play("balancer")
    return fleet


@pytest.fixture(scope="session")
def served(behind: Behind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Let all hosts serve two models; yield the arguments that publish them."""
    arguments = Wanted(tmp_path_factory.mktemp("served") / "models").arguments()
    behind.play("update_models", *arguments)
    yield arguments
    behind.play("update_models")


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> Iterator[list[tuple[str, ...]]]:
    """The rows of the table that is printed at the end of the session."""
    cells: list[tuple[str, ...]] = [
        ("CHANGE", "SECONDS", "SENT", "FAILED", "WRONG", "P99 BEFORE", "P99 DURING", "LONGEST")
    ]
    yield cells
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.write_line("")
        for line in table(cells).splitlines():
            reporter.write_line(line)


Proof = Callable[[str], AbstractContextManager[Load]]


@pytest.fixture
def proof(
    behind: Behind,
    served: list[str],
    rows: list[tuple[str, ...]],
    record_property: Callable[[str, object], None],
) -> Proof:
    """Put steady load on the balancer around a change; all answers must be right.

    The fixture ``served`` must have run: the load asks for the models that it serves.
    """
    assert served
    requests = [
        Request.of_image(behind.address, model, lab.SEVEN, changes.a_seven) for model in MODELS
    ]

    @contextmanager
    def around(name: str) -> Iterator[Load]:
        load = Load(requests)
        with load:
            time.sleep(QUIET_S)
            begun = time.monotonic()
            yield load
            ended = time.monotonic()
            load.wait_for_answers(40)
        report = load.report
        before, during = report.between(0.0, begun), report.between(begun, ended)
        row = _row(name, report, before, during, ended - begun)
        rows.append(tuple(row.values()))
        record_property("load", json.dumps(row))
        assert during.answers, "there was no load during the change"
        assert not report.failed, report
        assert not report.wrong, report

    return around


def _row(
    name: str, report: Report, before: Report, during: Report, seconds: float
) -> Mapping[str, str]:
    return {
        "change": name,
        "seconds": f"{seconds:.0f}",
        "sent": str(len(report.answers)),
        "failed": str(len(report.failed)),
        "wrong": str(len(report.wrong)),
        "p99 before": f"{before.percentile_ms(0.99):.0f} ms",
        "p99 during": f"{during.percentile_ms(0.99):.0f} ms",
        "longest": f"{during.percentile_ms(1.0):.0f} ms",
    }


@pytest.fixture
def wanted(tmp_path: Path) -> Iterator[Wanted]:
    """The directory to change and publish; at first with the models that are served."""
    yield Wanted(tmp_path / "models")
    shutil.rmtree(tmp_path / "models", ignore_errors=True)
