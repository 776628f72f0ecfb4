"""Each rolling change of a fleet under load through its balancer: no request fails."""

from __future__ import annotations

import pytest

from tests import lab
from tests.integration import changes
from tests.integration.fleet.conftest import MODELS, Behind, Proof, Wanted, in_words

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def served_by(behind: Behind) -> list[dict[str, str]]:
    return [changes.releases(machine) for machine in behind.machines]


def changed(before: list[dict[str, str]], after: list[dict[str, str]]) -> set[tuple[str, ...]]:
    """Return the sets of models that changed on a host, each set once."""
    return {
        tuple(model for model in MODELS if old[model] != new[model])
        for old, new in zip(before, after, strict=True)
    }


@pytest.mark.parametrize("models", [MODELS[:1], MODELS], ids=["one model", "all models"])
def test_models(behind: Behind, proof: Proof, wanted: Wanted, models: tuple[str, ...]) -> None:
    wanted.archives = {model: in_words(f"of {len(models)}") for model in models}
    # The archives that are served at first, from which the new ones differ.
    behind.play("update_models", *Wanted(wanted.directory.with_name("first")).arguments())
    before = served_by(behind)
    with proof(f"update of {' and '.join(models)}"):
        behind.play("update_models", *wanted.arguments())
    assert changed(before, served_by(behind)) == {models}
    with proof("rollback of it"):
        behind.play("rollback")
    assert served_by(behind) == before


def test_settings_only(behind: Behind, proof: Proof, served: list[str], wanted: Wanted) -> None:
    behind.play("update_models", *served)
    before = served_by(behind)
    wanted.settings = ["numbers.cpu_weight=90"]
    with proof("settings of numbers"):
        behind.play("update_models", *wanted.arguments())
    assert changed(before, served_by(behind)) == {MODELS[1:]}


def test_a_restart(behind: Behind, proof: Proof) -> None:
    before = [processes(machine) for machine in behind.machines]
    with proof("restart"):
        behind.play("restart")
    after = [processes(machine) for machine in behind.machines]
    assert all(not old & new for old, new in zip(before, after, strict=True))


def test_an_upgrade_with_a_reboot(behind: Behind, proof: Proof, served: list[str]) -> None:
    behind.play("update_models", *served)
    before = [boot(machine) for machine in behind.machines]
    with proof("upgrade with reboot"):
        behind.play("upgrade", *served)
    assert all(old != boot(each) for old, each in zip(before, behind.machines, strict=True))


def processes(machine: lab.Machine) -> set[str]:
    """Return the main processes of all running releases."""
    shown = lab.on(machine, "systemctl show --property=MainPID --value 'mms@*.service'")
    return set(shown.split()) - {"0"}


def boot(machine: lab.Machine) -> str:
    return lab.on(machine, "cat /proc/sys/kernel/random/boot_id")
