"""Mutation test on test hosts: ``python -m tests.integration.without``.

Each mechanism guarantees something. It is disabled by a change of one snippet of the package that
is installed on the test hosts; then the test that guards it is run, and the snippet is restored. A
test that passes without the mechanism guards nothing. The hosts are those of ``MMS_TEST_GROUP``.
They have to serve (`make up`, or the first half of `make fleet`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core.formatting import table
from tests import lab
from tests.integration import changes

_PACKAGE: Final = "/opt/mms/current/lib/python3.11/site-packages/mms_server"
_TEST_LIMIT_S: Final = 900.0
_TESTS: Final = "tests/integration"


@dataclass(frozen=True)
class Mechanism:
    """A mechanism and its ``guarantee``, which the snippet ``new`` in place of ``old`` breaks.

    ``old`` occurs once in ``file``. pytest runs ``test`` with ``pytest_options``. ``swaps`` is the
    number of swaps in a long test; 0 for the other tests.
    """

    name: str
    guarantee: str
    file: str
    old: str
    new: str
    test: str
    pytest_options: tuple[str, ...] = ()
    swaps: int = 0


MECHANISMS: Final = (
    Mechanism(
        "rename",
        "the switch is one rename",
        "core/files.py",
        "    temporary.replace(link)\n",
        "    link.unlink(missing_ok=True)\n"
        "    __import__('time').sleep(0.2)\n"
        "    temporary.replace(link)\n",
        "test_swaps.py",
        ("-k", "warm"),
        swaps=10,
    ),
    Mechanism(
        "beside",
        "a new release gets ready before the switch",
        "deploy/transaction.py",
        "            self._configure()\n            for name, release",
        "            self._configure()\n"
        "            self._switch(list(self._ids))\n"
        "            for name, release",
        "test_interrupted.py::test_a_killed_change_is_done_by_the_next_one",
    ),
    Mechanism(
        "golden",
        "golden samples are compared",
        "archives/golden_samples.py",
        "    for number, sample in enumerate(samples, 1):\n        try:\n",
        "    for number, sample in enumerate((), 1):\n        try:\n",
        "test_life.py::test_an_archive_with_other_answers_than_its_samples_gets_no_request",
    ),
    Mechanism(
        "put-back",
        "a failed change is reverted",
        "deploy/revert.py",
        "    errors: list[str] = []\n    layout, before",
        "    return\n    layout, before",
        "test_bad_models.py::test_a_model_that_fails_before_the_switch_gets_no_request",
    ),
    Mechanism(
        "quarantine",
        "an input that killed a worker twice is refused",
        "crashes/crash_history.py",
        "_REFUSED_FROM: Final = 2\n",
        "_REFUSED_FROM: Final = 1000\n",
        "test_bad_models.py::test_a_later_failure_is_contained_and_named",
    ),
    Mechanism(
        "relink",
        "a boot restores the last generation",
        "deploy/operate.py",
        '    done: list[str] = []\n    with locked(host.layout, "mms relink"',
        '    done: list[str] = []\n    return done\n    with locked(host.layout, "mms relink"',
        "test_interrupted.py::test_a_power_cut_in_a_change",
    ),
    Mechanism(
        "io-timeout",
        "reading the share has a time limit",
        "core/io_timeout.py",
        "    results: queue.Queue[tuple",
        "    return operation()\n    results: queue.Queue[tuple",
        "test_faults.py::test_a_lost_share_stops_updates_and_no_prediction",
        ("-k", "server_stopped"),
    ),
    Mechanism(
        "forecast",
        "a change that does not fit is refused",
        "deploy/apply.py",
        "    if outcome.refusal:\n        raise",
        "    if False:\n        raise",
        "test_life.py::test_a_change_with_a_gap_lets_requests_wait",
    ),
    Mechanism(
        "unchanged",
        "an unchanged host is left alone",
        "deploy/plan.py",
        "        new_generation=_content(observed.generation)\n",
        "        new_generation=True or _content(observed.generation)\n",
        "test_pairs.py",
    ),
)


@contextmanager
def disabled(mechanism: Mechanism, machines: Sequence[lab.Machine]) -> Iterator[None]:
    """Change the snippet on each host; afterwards restore it and restart all releases.

    Raises:
        ValueError: the snippet does not occur exactly once: the table is out of date.
    """
    path = f"{_PACKAGE}/{mechanism.file}"
    texts = {machine: lab.on(machine, f"cat {path}") + "\n" for machine in machines}
    for machine, text in texts.items():
        if text.count(mechanism.old) != 1:
            raise ValueError(
                f"{mechanism.name}: the snippet is not exactly once in {path} on {machine.name}"
            )
    try:
        for machine, text in texts.items():
            _write(machine, path, text.replace(mechanism.old, mechanism.new))
            lab.on(machine, "mms restart", timeout_s=300)
        yield
    finally:
        for machine, text in texts.items():
            _write(machine, path, text)
        for machine in machines:
            # A command of the test may still have the host's lock.
            changes.wait_until(lambda at=machine: _serves(at), f"{machine.name} serves", 180)  # type: ignore[misc]
            lab.on(machine, "mms restart", timeout_s=300)


def _serves(machine: lab.Machine) -> bool:
    return changes.apply(machine, changes.SHARED_CONF).returncode == 0


def _write(machine: lab.Machine, path: str, text: str) -> None:
    lab.on(machine, f"tee {path}", stdin=text)
    file = Path(path)
    lab.on(machine, f"sh -c 'rm -f {file.parent}/__pycache__/{file.stem}.*'")


def outcome(mechanism: Mechanism) -> tuple[bool, str]:
    """Run the test; return whether it failed, and its error.

    Raises:
        RuntimeError: no test ran.
    """
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", *mechanism.pytest_options]
    long = {"MMS_SOAK": "1", "MMS_SWAPS": str(mechanism.swaps)} if mechanism.swaps else {}
    done = subprocess.run(
        [*command, f"{_TESTS}/{mechanism.test}"],
        cwd=lab.ROOT,
        env={**os.environ, **long},
        capture_output=True,
        text=True,
        timeout=_TEST_LIMIT_S,
        check=False,
    )
    lines = done.stdout.splitlines()
    ran = lines and (" passed" in lines[-1] or " failed" in lines[-1])
    if done.returncode not in {0, 1} or not ran:
        raise RuntimeError(f"{mechanism.name}: no test ran:\n{done.stdout}{done.stderr}")
    failed = any(line.startswith("FAILED ") for line in lines)
    error = [line[2:].strip() for line in lines if line.startswith("E  ")]
    return failed, error[0] if error else lines[-1]


def main(argv: Sequence[str] | None = None) -> int:
    """Test each mechanism, print a table; return 1 if a test passes without its mechanism."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.integration.without", description=__doc__
    )
    known = [mechanism.name for mechanism in MECHANISMS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args(argv).names or known
    unknown = set(names) - set(known)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: use {', '.join(known)}")
    machines, rows, passed = lab.fleet(), [], 0
    for mechanism in MECHANISMS:
        if mechanism.name not in names:
            continue
        sys.stderr.write(f"without: {mechanism.guarantee} ...\n")
        with disabled(mechanism, machines):
            failed, error = outcome(mechanism)
        passed += not failed
        result = "fails" if failed else "PASSES"
        rows.append((mechanism.guarantee, mechanism.test, result, error[:100]))
        sys.stderr.write(f"  {rows[-1][2]}: {error[:200]}\n")
    sys.stdout.write(table([("WITHOUT", "TEST", "RESULT", "ERROR"), *rows]) + "\n")
    return 1 if passed else 0


if __name__ == "__main__":
    sys.exit(main())
