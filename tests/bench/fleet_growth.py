"""The duration of an update by the number of hosts: ``python -m tests.bench.fleet_growth``.

It is calculated, not measured on a hundred hosts. The calculation uses:

* the tasks of the role `mms_fleet`, counted in its files, and the steps that it would plan;
* the cost of one task per host on this controller, measured with Ansible on that many names of this
  machine (connection `local`: the modules run here as well, so real hosts cost less);
* the time that a host needs by itself (to run one module, to download, to load), from options.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml

from mms_server.core.formatting import duration, table
from mms_server.fleet.rollout import rollout_batches as stepping

ROOT: Final = Path(__file__).resolve().parents[2]
ENTRIES: Final = (("mms_service", "validate.yml"), ("mms_fleet", "update.yml"))
"""The roles and task files that `playbooks/update_models.yml` includes."""
SIZES: Final = (3, 10, 30, 100)
FORKS: Final = (5, 20, 50)
SERIALS: Final[tuple[tuple[int | str, ...], ...]] = ((1, "25%", "100%"), (1, "10%"), (1, "100%"))
LOCAL: Final = frozenset(
    {"set_fact", "debug", "assert", "fail", "include_tasks", "include_role", "import_tasks"}
)
"""The actions that run on the controller; all others run on a host."""
_WHOLE: Final = ("run_batch.yml", "update_host.yml", "watch_canaries.yml", "check_canaries.yml")
_LEFT_OUT: Final = ("restore_fleet.yml", "run_hook.yml")
_SKIPPED_BY: Final = (
    "suspects",
    "__mms_fleet_nginx_changes",
    "mms_fleet_webhook",
    "rejectattr('publish')",
)
_SAMPLES: Final = 5


@dataclass(frozen=True)
class Kind:
    """A kind of task; ``part`` is the repeated part or `run`, ``hosts`` `all`, `step` or `once`."""

    part: str
    hosts: str
    remote: bool


@dataclass(frozen=True)
class Costs:
    """Costs in seconds. The first three are of the controller; those of a task are per host."""

    start: float
    local: float
    remote: float
    answer: float
    fetch: float
    load: float
    pause: float
    looks: int


def count(role: str, file: str, part: str = "run", hosts: str = "all") -> Counter[Kind]:
    """Return the number of tasks of each kind in a successful update without a change of nginx."""
    path = ROOT / "roles" / role / "tasks" / file
    found: Counter[Kind] = Counter()
    for task in _flat(yaml.safe_load(path.read_text("utf-8"))):
        where = "once" if task.get("run_once") else hosts
        action = next(key for key in task if "." in key)
        name = action.rpartition(".")[2]
        skipped = any(word in f"{task.get('when')} {task.get('loop')}" for word in _SKIPPED_BY)
        found[Kind(part, where, name not in LOCAL and not skipped)] += 1
        inner = None if skipped else _included(role, name, task[action])
        if inner is None or inner[1] in _LEFT_OUT:
            continue
        within = inner[1].removesuffix(".yml") if inner[1] in _WHOLE else part
        found += count(*inner, within, "step" if within == "update_host" else where)
    return found


def count_all() -> Counter[Kind]:
    """Return the number of tasks of each kind in all includes of the playbook."""
    return sum((count(*entry) for entry in ENTRIES), Counter())


def seconds(
    counted: Mapping[Kind, int], costs: Costs, hosts: int, forks: int, serial: Sequence[int | str]
) -> float:
    """Return the duration of an update of ``hosts`` hosts, in seconds."""
    names = [str(number) for number in range(hosts)]
    total = costs.start + costs.fetch * math.ceil(hosts / forks)
    total += _part(counted, costs, "run", {"all": hosts, "once": 1}, forks)
    for step in stepping.plan(names, serial, [], 1):
        many = {"all": hosts, "step": len(step.hosts), "once": 1}
        total += costs.load * math.ceil(len(step.hosts) / forks)
        total += _part(counted, costs, "run_batch", many, forks)
        total += _part(counted, costs, "update_host", many, forks)
        if step.soaks:
            total += _part(counted, costs, "watch_canaries", many, forks)
            total += costs.looks * (
                costs.pause + _part(counted, costs, "check_canaries", many, forks)
            )
    return total


def _part(
    counted: Mapping[Kind, int], costs: Costs, part: str, many: Mapping[str, int], forks: int
) -> float:
    total = 0.0
    for kind, number in counted.items():
        if kind.part != part:
            continue
        here = many[kind.hosts]
        # The controller runs tasks of some hosts while it waits for others.
        waits = costs.answer * math.ceil(here / forks)
        each = max(costs.remote * here, waits) if kind.remote else costs.local * here
        total += number * each
    return total


def _flat(tasks: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield tasks, also those in blocks, without those in a `rescue`, which run after errors."""
    for task in tasks:
        if "block" in task:
            yield from _flat(task["block"])
        else:
            # The names of the project's modules have no dot.
            yield {
                f"mms.{key}" if key.startswith("mms_") and isinstance(value, dict) else key: value
                for key, value in task.items()
            }


def _included(role: str, action: str, given: Any) -> tuple[str, str] | None:
    if action == "include_role":
        return given["name"], given["tasks_from"].removesuffix(".yml") + ".yml"
    if action in {"include_tasks", "import_tasks"}:
        file = given if isinstance(given, str) else given["file"]
        return None if "{{" in file else (role, file)
    return None


def measure(hosts: int, forks: int) -> tuple[float, float, float]:
    """Return the controller's times for a start, and per host for a local and a remote task."""
    names = [f"host-{number}" for number in range(hosts)]
    near = {"name": "Near", "ansible.builtin.set_fact": {"seen": "{{ inventory_hostname }}"}}
    far = {"name": "Far", "ansible.builtin.ping": {}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [near, far] * _SAMPLES}
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    with tempfile.TemporaryDirectory() as directory:
        inventory, playbook = Path(directory, "hosts.yml"), Path(directory, "play.yml")
        everything = {"all": {"vars": host, "hosts": dict.fromkeys(names)}}
        inventory.write_text(json.dumps(everything), encoding="utf-8")
        playbook.write_text(json.dumps([play]), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("ansible-playbook"))]
        command += [f"--inventory={inventory}", f"--forks={forks}", str(playbook)]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        }
        begun = time.monotonic()
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=900
        )
        whole = time.monotonic() - begun
    took: dict[str, list[float]] = {"Near": [], "Far": []}
    for task in json.loads(done.stdout)["plays"][0]["tasks"]:
        span = task["task"]["duration"]
        end, start = datetime.fromisoformat(span["end"]), datetime.fromisoformat(span["start"])
        took[task["task"]["name"]].append((end - start).total_seconds())
    start_s = max(whole - sum(map(sum, took.values())), 0.0)
    return (
        start_s,
        statistics.median(took["Near"]) / hosts,
        statistics.median(took["Far"]) / hosts,
    )


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the times of hosts in seconds, from options; the defaults are of no real fleet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--answer-s", type=float, default=0.5, help="a module on a host, with ssh")
    parser.add_argument("--fetch-s", type=float, default=1.0, help="prefetch; 1 if it is there")
    parser.add_argument("--load-s", type=float, default=10.0, help="apply of the changed models")
    parser.add_argument("--pause-s", type=float, default=20.0, help="mms_fleet_soak_pause_s")
    parser.add_argument("--looks", type=int, default=3, help="mms_fleet_soak_looks")
    parser.add_argument("--names", type=int, default=30, help="names that Ansible is measured with")
    return parser.parse_args(words)


def main() -> None:
    """Measure, calculate, print the tables."""
    given = arguments()
    before = os.getloadavg()[0]
    counted = count_all()
    measured = [("FORKS", "START", "LOCAL TASK, A HOST", "REMOTE TASK, A HOST")]
    rows = [("SERIAL", "FORKS", *(f"{hosts} HOSTS" for hosts in SIZES))]
    for forks in FORKS:
        start, local, remote = measure(given.names, forks)
        measured.append(
            (str(forks), f"{start:.1f} s", f"{local * 1000:.0f} ms", f"{remote * 1000:.0f} ms")
        )
        costs = Costs(
            start, local, remote, given.answer_s, given.fetch_s, given.load_s, given.pause_s,
            given.looks,
        )  # fmt: skip
        for serial in SERIALS:
            times = (duration(seconds(counted, costs, hosts, forks, serial)) for hosts in SIZES)
            rows.append((",".join(map(str, serial)), str(forks), *times))
    machine = f"this machine ({os.cpu_count()} cores, {before:.1f} processes waiting when it began)"
    sys.stdout.write(f"Measured with {given.names} names of {machine}:\n{table(measured)}\n\n")
    sys.stdout.write(
        f"Calculated: {given.answer_s:g} s for a module on a host, {given.fetch_s:g} s to fetch, "
        f"{given.load_s:g} s to load, {given.looks} looks with {given.pause_s:g} s before each:\n"
    )
    sys.stdout.write(f"{table([rows[0], *sorted(rows[1:], key=lambda row: row[0])])}\n")


if __name__ == "__main__":
    main()
