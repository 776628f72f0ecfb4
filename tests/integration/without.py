"""Take away what keeps a promise, and see its test fail: ``python -m tests.integration.without``.

For each mechanism one place of the package that is installed on the test hosts is changed, the test
that guards it is run, and the place is put back. A test that passes all the same guards nothing.
The hosts are those of ``MMS_TEST_GROUP``, and have to serve (`make up`, or the first half of `make
fleet`).
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
    """What keeps a promise: ``old`` stands once in ``file``, and with ``new`` nothing keeps it.

    ``test`` is what pytest is to run, ``words`` are for it besides. One of the long proofs runs
    with so many ``swaps``; 0 is for the others.
    """

    name: str
    taken: str
    file: str
    old: str
    new: str
    test: str
    words: tuple[str, ...] = ()
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
        "test_life.py::test_an_archive_that_answers_otherwise_gets_no_request",
    ),
    Mechanism(
        "put-back",
        "a failed change is put back",
        "deploy/revert.py",
        "    errors: list[str] = []\n    layout, before",
        "    return\n    layout, before",
        "test_bad_models.py::test_what_fails_before_it_serves_gets_no_request",
    ),
    Mechanism(
        "quarantine",
        "an input that killed twice is refused",
        "crashes/crash_history.py",
        "_REFUSED_FROM: Final = 2\n",
        "_REFUSED_FROM: Final = 1000\n",
        "test_bad_models.py::test_what_fails_later_is_contained_and_named",
    ),
    Mechanism(
        "relink",
        "a boot goes back to the last generation",
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
        "what is as wanted is left alone",
        "deploy/plan.py",
        "        new_generation=_content(observed.generation)\n",
        "        new_generation=True or _content(observed.generation)\n",
        "test_pairs.py",
    ),
)


@contextmanager
def taken_away(mechanism: Mechanism, machines: Sequence[lab.Machine]) -> Iterator[None]:
    """Change the place on each host; afterwards put it back and let all releases run with it.

    Raises:
        ValueError: the place is not there, or not once: the table is out of date.
    """
    place = f"{_PACKAGE}/{mechanism.file}"
    texts = {machine: lab.on(machine, f"cat {place}") + "\n" for machine in machines}
    for machine, text in texts.items():
        if text.count(mechanism.old) != 1:
            raise ValueError(f"{mechanism.name}: {place} on {machine.name} has not the place once")
    try:
        for machine, text in texts.items():
            _write(machine, place, text.replace(mechanism.old, mechanism.new))
            lab.on(machine, "mms restart", timeout_s=300)
        yield
    finally:
        for machine, text in texts.items():
            _write(machine, place, text)
        for machine in machines:
            # What the test has begun may still hold the host's lock.
            changes.wait_until(lambda at=machine: _serves(at), f"{machine.name} serves", 180)  # type: ignore[misc]
            lab.on(machine, "mms restart", timeout_s=300)


def _serves(machine: lab.Machine) -> bool:
    return changes.apply(machine, changes.SHARED_CONF).returncode == 0


def _write(machine: lab.Machine, place: str, text: str) -> None:
    lab.on(machine, f"tee {place}", stdin=text)
    cache = Path(place)
    lab.on(machine, f"sh -c 'rm -f {cache.parent}/__pycache__/{cache.stem}.*'")


def outcome(mechanism: Mechanism) -> tuple[bool, str]:
    """Run the test; return whether it failed, and what it says.

    Raises:
        RuntimeError: no test ran.
    """
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", *mechanism.words]
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
    said = [line[2:].strip() for line in lines if line.startswith("E  ")]
    return failed, said[0] if said else lines[-1]


def main(argv: Sequence[str] | None = None) -> int:
    """Try each mechanism, print a table; return 1 if a test passes without what it guards."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.integration.without", description=__doc__
    )
    known = [each.name for each in MECHANISMS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args(argv).names or known
    unknown = set(names) - set(known)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: use {', '.join(known)}")
    machines, rows, passed = lab.fleet(), [], 0
    for mechanism in (each for each in MECHANISMS if each.name in names):
        sys.stderr.write(f"without: {mechanism.taken} ...\n")
        with taken_away(mechanism, machines):
            failed, said = outcome(mechanism)
        passed += not failed
        rows.append((mechanism.taken, mechanism.test, "fails" if failed else "PASSES", said[:100]))
        sys.stderr.write(f"  {rows[-1][2]}: {said[:200]}\n")
    sys.stdout.write(table([("WITHOUT", "TEST", "RESULT", "WHICH SAYS"), *rows]) + "\n")
    return 1 if passed else 0


if __name__ == "__main__":
    sys.exit(main())
