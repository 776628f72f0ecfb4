"""Random pairs of configurations: apply does what plan says, and a second apply does nothing."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import lab
from tests.integration import changes

MODELS = ("digits", "other", "third")
REFUSED = 3


class Configurations:
    """Makes random mms.conf on the host's disk: some models, each in one of two versions."""

    def __init__(self, machine: lab.Machine, directory: Path, rng: random.Random) -> None:
        self._machine = machine
        self._rng = rng
        self._archives = [
            changes.variant(directory / "plain.model", lambda _members: None),
            changes.variant(directory / "words.model", changes.in_words),
        ]

    def draw(self, name: str) -> str:
        """Put a random configuration on the host and return its file."""
        chosen = self._rng.sample(MODELS, self._rng.randint(1, len(MODELS)))
        models = {model: self._rng.choice(self._archives) for model in chosen}
        rest = f"--workers\n{self._rng.choice((1, 2))}\n"
        if self._rng.random() < 0.5:
            # A short time could end between two commands, and its end is a change too.
            rest += f"[Model Settings]\n{chosen[0]}.keep_warm_s={self._rng.choice((0, 3600))}\n"
        return changes.put(self._machine, name, models, rest)


def answered(machine: lab.Machine, command: str, conf: str) -> tuple[int, dict[str, Any]]:
    """Run `mms plan` or `mms apply`; return its exit code and its JSON."""
    done: subprocess.CompletedProcess[str] = lab.run(
        machine, f"mms {command} --conf {conf} --json", timeout_s=300
    )
    assert done.returncode in (0, REFUSED), done
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(3600)
def test_apply_does_what_plan_says(last: lab.Machine, tmp_path: Path, every_step: bool) -> None:
    configurations = Configurations(last, tmp_path, random.Random(5))  # noqa: S311 - a test's draw
    for turn in range(20 if every_step else 2):
        first, second = (configurations.draw(f"{turn}-{place}") for place in (1, 2))
        answered(last, "apply", first)
        before = changes.releases(last)
        code, planned = answered(last, "plan", second)
        assert changes.releases(last) == before, "a plan changes nothing"
        done_code, done = answered(last, "apply", second)
        assert done_code == code, (planned, done)
        after = changes.releases(last)
        if code == REFUSED:
            assert after == before
            continue
        assert done["models"] == planned["models"]
        assert after == {
            row["model"]: row["release"] for row in planned["models"] if row["action"] != "unload"
        }
        for model in after:
            assert lab.predict(last, model=model)["class"] in ("7", "seven")
        again_code, again = answered(last, "apply", second)
        assert (again_code, again["changed"]) == (0, False), again
