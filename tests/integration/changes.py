"""Changes of the models of one host, by commands on the host, and the state of the host.

Archives and an ``mms.conf`` are copied to the host's own disk, so that a change is one command.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from tests import lab

DIRECTORY = "/var/tmp/mms-tests"  # noqa: S108 - on a test host, and it must outlive a reboot
SHARED_CONF = "/efs/models/mms.conf"
_WORDS = "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"
LABELS = {str(number): word for number, word in enumerate(_WORDS)}
"""The labels of the digits model, and those of the variant that :func:`in_words` makes."""

Members = dict[str, bytes]
HEAD = """\
[MMS Arguments]
--models
{models}

[Gunicorn Arguments]
--bind
unix:/tmp/mms_app.sock
"""


def variant(target: Path, change: Callable[[Members], None], source: Path | None = None) -> Path:
    """Write a changed copy of the digits archive (or of ``source``) and return its path."""
    with zipfile.ZipFile(source or lab.MODELS / "digits.model") as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as new:
        for name, content in members.items():
            # A fixed time, so that archives with equal content are equal.
            new.writestr(zipfile.ZipInfo(name), content)
    return target


def in_words(members: Members) -> None:
    """Let the model answer with words, so that an answer shows which version gave it."""
    members["synset.txt"] = "".join(f"{word}\n" for word in LABELS.values()).encode()


def a_seven(rows: list[dict[str, Any]]) -> bool:
    """Return whether a ranking is right, with labels of only one of the two versions."""
    words = set(LABELS.values())
    classes = [row["class"] for row in rows]
    whole = all(name in words for name in classes) or all(name in LABELS for name in classes)
    return whole and classes[0] in ("7", LABELS["7"])


def put(machine: lab.Machine, name: str, models: Mapping[str, Path], rest: str = "") -> str:
    """Copy archives and an mms.conf that serves them to a host; return the file's path there."""
    place = f"{DIRECTORY}/{name}"
    lab.on(machine, f"install -d -o admin {DIRECTORY} {place}")
    for archive in set(models.values()):
        lab.copy(machine, archive, f"{place}/{archive.name}")
    pairs = " ".join(f"{model}={place}/{archive.name}" for model, archive in models.items())
    text = HEAD.format(models=pairs) + rest
    lab.on(machine, f"tee {place}/mms.conf", stdin=text)
    lab.on(machine, "sync")
    return f"{place}/mms.conf"


def apply(
    machine: lab.Machine, conf: str, *words: str, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run `mms apply` on a host, to its end."""
    command = shlex.join(["mms", "apply", "--conf", conf, *words])
    return lab.run(machine, command, timeout_s=timeout_s)


def applied(machine: lab.Machine, conf: str, *words: str) -> None:
    """Run `mms apply` on a host; it must succeed."""
    done = apply(machine, conf, *words)
    assert done.returncode == 0, done.stderr


def status(machine: lab.Machine) -> dict[str, Any]:
    """Return the JSON of `mms status` on a host."""
    answer: dict[str, Any] = json.loads(lab.on(machine, "mms status --json"))
    return answer


def releases(machine: lab.Machine) -> dict[str, str]:
    """Return the live release of each model."""
    return {row["model"]: row["release"] for row in status(machine)["models"]}


def live(machine: lab.Machine) -> str:
    """Return the target of the digits model's live link."""
    return lab.on(machine, "readlink /run/mms/live/digits.sock")


def healthy(machine: lab.Machine) -> bool:
    """Return whether `/ping` of a host answers that it is healthy."""
    try:
        return requests.get(f"{machine.url}/ping", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 120) -> float:
    """Wait until ``holds()`` is true; return the seconds that it took.

    Raises:
        TimeoutError: it was not true within ``timeout_s`` seconds; the error names ``what``.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(0.5)
    return time.monotonic() - began
