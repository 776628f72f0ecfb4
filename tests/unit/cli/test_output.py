"""The tables and the JSON of `mms status` and `mms releases`, to the letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mms_server.cli import output
from mms_server.deploy.operate import ModelStatus
from mms_server.fleet.rollout.summary import fleet_table
from mms_server.host.generations import Generation
from mms_server.host.release import Part, Release
from mms_server.host.supervisor import UnitState
from mms_server.server.health import ModelHealth

RUNS = UnitState(service="active", socket="active", enabled=True)
GENERATION = Generation(
    number=7,
    made_at="2026-01-02T03:04:05+00:00",
    by="root",
    conf="/efs/models/mms.conf",
    models={"digits": "digits.11111111", "cats": "pets.22222222", "dogs": "pets.22222222"},
    host="0.0.0.0",  # noqa: S104 - what the API description shows
    port=8080,
)


def row(model: str, release: str, **facts: Any) -> ModelStatus:
    """Return a model that serves, but for ``facts``."""
    usual: dict[str, Any] = {
        "socket": f"/run/mms/{release}.sock",
        "units": RUNS,
        "health": ModelHealth(master=True, workers=2, linked=True, serving=release),
    }
    return ModelStatus(model=model, release=release, **(usual | facts))


ROWS = [
    row(
        "digits",
        "digits.11111111",
        memory_bytes=200 * 1024**2,
        up_s=61.0,
        restarts=3,
        warm={"digits.00000000": 59.6},
        engine="int8",
    ),
    row("cats", "pets.22222222", group="pets", unconfined="without protection of network (x)"),
    row(
        "dogs",
        "pets.22222222",
        group="pets",
        units=UnitState(service="activating", socket="active", enabled=False),
        health=ModelHealth(
            master=False, workers=0, linked=False, serving=None, trouble="it crashes"
        ),
    ),
]
STATUS = """
Generation 7, made 2026-01-02T03:04:05+00:00 by root from /efs/models/mms.conf
MODEL   RELEASE          STATE       READY  WORKERS  MEMORY   UP     RESTARTS  WARM
digits  digits.11111111  active      yes    2        200 MiB  1m 1s  3         digits.00000000 (1m 0s)
cats    pets.22222222    active      yes    2        -        -      0         -
dogs    pets.22222222    activating  no     0        -        -      0         -
dogs: it crashes
cats runs without protection of network (x)
digits is computed by int8
group pets: its 2 models share processes and memory
"""  # noqa: E501 - as it is printed
JSON: dict[str, Any] = {
    "model": "dogs",
    "release": "pets.22222222",
    "state": "activating",
    "socket_state": "active",
    "enabled": False,
    "master": False,
    "workers": 0,
    "linked": False,
    "serving": None,
    "ready": False,
    "reason": "it crashes",
    "socket": "/run/mms/pets.22222222.sock",
    "memory_bytes": None,
    "up_s": None,
    "restarts": 0,
    "warm": {},
    "unconfined": "",
    "engine": "mxnet",
    "group": "pets",
}


def test_the_text_of_status() -> None:
    assert output.status_text(GENERATION, ROWS) == STATUS.strip()
    assert output.status_text(None, []).startswith("This host has never served a model.")


def test_the_json_of_status() -> None:
    answer = output.status_json(GENERATION, ROWS)
    models = answer.pop("models")
    assert answer == {
        "healthy": False,
        "generation": 7,
        "made_at": "2026-01-02T03:04:05+00:00",
        "by": "root",
        "conf": "/efs/models/mms.conf",
        "restores": None,
    }
    assert models[2] == JSON
    assert [sorted(each) for each in models] == [sorted(JSON)] * 3
    assert models[0]["warm"] == {"digits.00000000": 59.6}


FLEET = """
HOST  HEALTH       GEN  MODEL   RELEASE   READY  WORKERS  MEMORY   UP     DRIFT
h1    NOT HEALTHY  7    digits  11111111  yes    2        200 MiB  1m 1s  none
                        cats    22222222  yes    2        -        -
                        dogs    22222222  NO     0        -        -
h2    unreachable
"""


def test_the_table_of_a_fleet() -> None:
    state = output.status_json(GENERATION, ROWS)
    lines = fleet_table(["h1", "h2"], {"h1": {**state, "drift": "none"}})
    assert "\n".join(lines) == FLEET.strip()


RELEASES = """
GENERATION  MADE                       BY    FROM                  RELEASES
7           2026-01-02T03:04:05+00:00  root  /efs/models/mms.conf  digits.11111111, pets.22222222, pets.22222222
6           2026-01-01T03:04:05+00:00  anna  generation 4          digits.00000000

RELEASE          STATE             GENERATIONS  ARCHIVE
digits.11111111  live              7            abababababab
pets.22222222    live              7            cdcdcdcdcdcd
digits.00000000  warm, 1m 0s left  6            abababababab
digits.33333333  kept                           unknown
"""  # noqa: E501 - as it is printed


def test_the_releases() -> None:
    kept = Release("digits", "ab" * 32, 1, "/opt/runtime")
    group = Release(
        "pets", "", 1, "/opt/runtime", group={"cats": Part("cd" * 32), "dogs": Part("cd" * 32)}
    )
    warm: Mapping[str, float] = {"digits.00000000": 59.6}
    on_disk = [
        ("digits.11111111", kept),
        ("pets.22222222", group),
        ("digits.00000000", kept),
        ("digits.33333333", None),
    ]
    older = Generation(
        number=6,
        made_at="2026-01-01T03:04:05+00:00",
        by="anna",
        conf="/efs/models/mms.conf",
        models={"digits": "digits.00000000"},
        host="h",
        port=80,
        restores=4,
    )
    answer = output.releases_json([GENERATION, older], list(on_disk), warm)
    assert answer["releases"][1] == {
        "release": "pets.22222222",
        "archives": {"cats": "cd" * 32, "dogs": "cd" * 32},
        "generations": [7],
        "live": True,
        "warm_s": None,
    }
    assert output.releases_text(answer) == RELEASES.strip()
