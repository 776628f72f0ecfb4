"""What a check would change becomes a list of differences."""

from __future__ import annotations

import pytest

from mms_server.fleet.rollout.drift import DriftCollector, as_data, as_lines

HOSTS = ["h1", "h2"]


@pytest.fixture
def collector() -> DriftCollector:
    return DriftCollector()


def test_differences_have_a_host_a_kind_and_a_thing(collector: DriftCollector) -> None:
    collector.add("h1", "ansible.builtin.template", "Write", {"changed": True, "dest": "/etc/x"})
    collector.add("h2", "mms_models", "Serve", {"changed": True})
    rows = as_data(collector.found(), HOSTS)
    assert rows["h1"] == [{"host": "h1", "kind": "files", "task": "Write", "what": "/etc/x"}]
    assert rows["h2"][0]["kind"] == "models"


def test_of_a_loop_only_the_items_count_that_would_change(collector: DriftCollector) -> None:
    results = [
        {"changed": True, "item": "nginx.service"},
        {"changed": False, "item": "mms-control.service"},
    ]
    collector.add(
        "h1", "ansible.builtin.systemd_service", "Start", {"changed": True, "results": results}
    )
    assert [row.what for row in collector.found()] == ["nginx.service"]


def test_a_certificate_that_ends_soon_is_named(collector: DriftCollector) -> None:
    file = "/etc/mms/tls/0a/certificate.pem"
    looked = {"changed": True, "item": file, "cmd": ["openssl", "x509", "-checkend", "86400"]}
    collector.add("h1", "ansible.builtin.command", "See", {"changed": True, "results": [looked]})
    collector.add("h1", "ansible.builtin.command", "Do", {"changed": True, "cmd": ["systemctl"]})
    assert [(row.kind, row.what) for row in collector.found()] == [
        ("certificates", file),
        ("units", ""),
    ]


def test_a_difference_counts_once(collector: DriftCollector) -> None:
    for _ in range(2):
        collector.add("h1", "unknown", "Do", {"changed": True})
    assert [(row.kind, row.what) for row in collector.found()] == [("other", "")]
    collector.clear()
    assert collector.found() == []


def test_lines_for_people(collector: DriftCollector) -> None:
    assert as_lines(collector.found(), HOSTS) == ["No drift on 2 hosts."]
    collector.add("h1", "ansible.builtin.apt", "Install", {"changed": True, "name": "nginx"})
    lines = as_lines(collector.found(), HOSTS)
    assert lines[1].split() == ["h1", "packages", "nginx", "Install"]
