"""Metrics and logs of a configured host: access, counts and sinks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests import lab

TIMEOUT_S = 60
GOOD = (lab.MODELS / "mms.conf").read_text(encoding="utf-8")


def scrape(host: Any) -> dict[str, float]:
    """Return the samples of the digits model and of the host, by name and HTTP status code."""
    text = host.check_output("curl --silent --fail --max-time 30 http://127.0.0.1/metrics")
    return {
        each.name + each.labels.get("code", ""): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
        if each.labels.get("model", "digits") == "digits" and "le" not in each.labels
    }


def test_only_the_host_itself_may_read_them(machine: lab.Machine, host: Any) -> None:
    for path in ("/metrics", "/metrics?x=1", "//metrics"):
        answer = requests.get(machine.url + path, timeout=TIMEOUT_S)
        assert answer.status_code in ({403} if "//" not in path else {403, 404}), path
        assert "mms_" not in answer.text
    assert scrape(host)["mms_model_ready"] == 1


def test_predictions_are_counted(machine: lab.Machine, host: Any) -> None:
    before = scrape(host)
    for _ in range(5):
        lab.predict(machine)
    refused = requests.post(f"{machine.url}/digits/predict", data={}, timeout=TIMEOUT_S)
    assert refused.status_code == 400
    requests.get(f"{machine.url}/ping", timeout=TIMEOUT_S)
    after = scrape(host)
    assert after["mms_predictions_total200"] - before["mms_predictions_total200"] == 5
    assert after["mms_predictions_total400"] - before.get("mms_predictions_total400", 0) == 1
    assert after["mms_prediction_seconds_count"] - before["mms_prediction_seconds_count"] == 6
    assert after["mms_pings_total"] - before["mms_pings_total"] >= 1
    assert after["mms_predictions_in_flight"] == 0
    assert after["mms_workers"] == after["mms_workers_wanted"]


def test_the_info_metrics_name_release_and_generation(
    host: Any, status: dict[str, Any], release: str
) -> None:
    text = host.check_output("curl --silent --fail --max-time 30 http://127.0.0.1/metrics")
    line = next(row for row in text.splitlines() if row.startswith("mms_model_info{"))
    assert f'release="{release.rpartition(".")[2]}"' in line
    assert f'generation="{status["generation"]}"' in line
    assert 'mms_engine_info{engine="mxnet",version="1.9.1"} 1.0' in text


@pytest.mark.timeout(300)
def test_counters_survive_a_restart_and_a_killed_worker(
    machine: lab.Machine, host: Any, release: str
) -> None:
    lab.predict(machine)
    before = scrape(host)
    main = host.check_output(f"systemctl show --property=MainPID --value mms@{release}.service")
    host.check_output(f"pkill -KILL --parent {main} --oldest")
    deadline = time.monotonic() + 30
    while scrape(host)["mms_workers"] < before["mms_workers"] and time.monotonic() < deadline:
        time.sleep(0.5)
    assert scrape(host)["mms_worker_restarts_total"] > before["mms_worker_restarts_total"]
    host.check_output("mms restart digits")
    host.check_output("systemctl restart mms-control.service")
    lab.predict(machine)
    after = scrape(host)
    for name, value in before.items():
        if name.endswith(("_total", "_count", "_sum", "_total200", "_total400")):
            assert after[name] >= value, name
    assert after["mms_predictions_total200"] == before["mms_predictions_total200"] + 1


@pytest.mark.timeout(300)
def test_the_journal_has_the_metrics_of_0_4(machine: lab.Machine, host: Any) -> None:
    for _ in range(3):
        lab.predict(machine)
    wanted = "Metric PredictionTotal for last 60 seconds is .* (model digits)"
    command = f"journalctl -u mms-metrics --since -3min --no-pager -o cat | grep '{wanted}'"
    deadline = time.monotonic() + 120
    while host.run(command).rc and time.monotonic() < deadline:
        time.sleep(2)
    assert host.run(command).rc == 0
    host_lines = (
        "journalctl -u mms-metrics --no-pager -o cat | grep -c 'Metric MemoryUsed for last'"
    )
    assert int(host.check_output(host_lines)) >= 1


def test_the_writer_has_the_network_and_little_else(host: Any) -> None:
    unit = "mms-metrics.service"
    for name, value in {
        "PrivateNetwork": "no",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "User": "mms",
        "NRestarts": "0",
    }.items():
        assert host.check_output(f"systemctl show --property={name} --value {unit}") == value, name
    families = host.check_output(
        f"systemctl show --property=RestrictAddressFamilies --value {unit}"
    )
    assert set(families.split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}


@pytest.mark.parametrize(
    ("path", "user", "mode"),
    [
        ("/etc/mms/metrics.env", "root", 0o600),
        ("/run/mms/metrics", "mms", 0o755),
        ("/var/log/mms", "mms", 0o2770),
    ],
)
def test_owners_and_modes(host: Any, path: str, user: str, mode: int) -> None:
    place = host.file(path)
    assert (place.user, place.group, place.mode) == (user, user, mode)


@pytest.fixture
def restored_sink() -> Iterator[None]:
    """Let the hosts write metrics to the journal again, which the tests of the next host read."""
    yield
    done = lab.playbook("playbooks/update_models.yml")
    assert done.returncode == 0, done.stdout


def update(tmp_path: Path, flags: str) -> tuple[int, str]:
    conf = tmp_path / "mms.conf"
    conf.write_text(GOOD.replace("[MMS Arguments]\n", f"[MMS Arguments]\n{flags}", 1), "utf-8")
    variable = f"--extra-vars=mms_service_conf={conf}"
    done = lab.playbook("playbooks/update_models.yml", variable)
    return done.returncode, " ".join(done.stdout.split())


@pytest.mark.soak
@pytest.mark.fleet
@pytest.mark.one_host
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("restored_sink")
def test_counters_survive_a_change_to_a_log_file_and_csv(
    machine: lab.Machine, host: Any, tmp_path: Path
) -> None:
    lab.predict(machine)
    before = scrape(host)["mms_predictions_total200"]
    flags = "--log-file\nmms_app.log\n--log-level\nDEBUG\n--metrics-write-to\ncsv\n"
    code, text = update(tmp_path, flags)
    assert code == 0, text
    assert scrape(host)["mms_predictions_total200"] >= before

    log = host.file("/var/log/mms/mms_app.log")
    assert (log.group, log.mode) == ("mms", 0o660)
    lab.predict(machine)
    file = host.file("/var/log/mms/metrics/digits/mms_PredictionTotal.csv")
    deadline = time.monotonic() + 150
    while not file.exists and time.monotonic() < deadline:
        time.sleep(2)
    rows = file.content_string.splitlines()
    time.strptime(rows[0].split(",")[0], "%Y-%m-%d %H:%M:%SZ")
    assert float(rows[0].split(",")[1]) >= 1
    assert host.file("/var/log/mms/metrics/mms_CPUUtilization.csv").exists
