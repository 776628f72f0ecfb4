"""Fixtures of the tests on hosts: hosts from the inventory; a failure shows the host's journal."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from typing import Any

import pytest

from tests import lab


def pytest_configure(config: pytest.Config) -> None:
    """Connect to every host of the tested group by ssh, unless the command line names hosts."""
    if not config.option.hosts:
        names = [each.address for each in lab.fleet()]
        if "PYTEST_XDIST_WORKER" in os.environ:
            names = [lab.OWN]
        config.option.hosts = ",".join(f"ssh://admin@{name}" for name in names)
        config.option.ssh_config = str(lab.ssh_config())
        config.option.sudo = True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run tests with the mark `one_host` on one host only, and the reboot test last."""
    others = [each.address for each in lab.fleet()[1:]]
    spared = [
        item
        for item in items
        if item.get_closest_marker("one_host") and any(other in item.name for other in others)
    ]
    items[:] = [item for item in items if item not in spared]
    config.hook.pytest_deselected(items=spared)
    items.sort(key=lambda item: item.path.name == "test_reboot.py")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    host = getattr(item, "funcargs", {}).get("host")
    if report.failed and host is not None:
        command = "journalctl -u 'mms*' -u nginx --no-pager -o short-monotonic -n 60"
        try:
            journal = host.run(command).stdout
        except RuntimeError as error:  # the cause of the failure may be the host
            journal = f"it cannot be reached: {error}"
        report.sections.append((f"journal of {host.backend.hostname}", journal))


@pytest.fixture(scope="module")
def machine(host: Any) -> lab.Machine:
    """The tested host, with its name and its address."""
    return lab.of(host)


@pytest.fixture(scope="module")
def status(host: Any) -> dict[str, Any]:
    """The JSON of `mms status` on the host."""
    answer: dict[str, Any] = json.loads(host.check_output("mms status --json"))
    return answer


@pytest.fixture(scope="module")
def release(status: dict[str, Any]) -> str:
    """The id of the live release of the digits model."""
    return str(next(each["release"] for each in status["models"] if each["model"] == "digits"))
