"""A host computes what this machine computes, bit for bit.

The kernel of the hosts saves the vector registers at a context switch. If it did not save their
full width, this test would get wrong numbers.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mms_server.archives import extract
from tests import lab

IMAGES = lab.MODELS / "test_images.npz"
PROGRAM = Path(__file__).with_name("outputs.py")
BUSY = "import numpy as n; a = n.random.rand(256, 256).astype('f')\nwhile True: a = n.tanh(a @ a)"


@pytest.fixture
def rival(host: Any) -> Iterator[None]:
    """A second process that keeps the vector registers busy, for at most four minutes."""
    host.check_output(
        "systemd-run --unit=mms-test-rival --property=RuntimeMaxSec=240 --collect "
        f'--setenv=OMP_NUM_THREADS=1 /opt/mms/current/bin/python -c "{BUSY}"'
    )
    yield
    host.run("systemctl stop mms-test-rival")


def outside(directory: Path) -> bytes:
    command = [sys.executable, str(PROGRAM), str(directory), str(IMAGES)]
    done = subprocess.run(command, timeout=120, check=True, capture_output=True)
    return base64.b64decode(done.stdout)


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("rival")
def test_outputs_are_equal_bit_for_bit(
    host: Any, machine: lab.Machine, tmp_path: Path, release: str
) -> None:
    extract.unpack(lab.MODELS / "digits.model", tmp_path / "digits")
    for file in (IMAGES, PROGRAM):
        lab.copy(machine, file, file.name)
    described = json.loads(host.file(f"/var/lib/mms/releases/{release}/release.json").content)
    store = f"/var/lib/mms/store/{described['archive_sha256']}"
    text = host.check_output(
        f"cd /home/admin && timeout 200 /opt/mms/current/bin/python {PROGRAM.name} "
        f"{store} {IMAGES.name}"
    )
    there, here = base64.b64decode(text), outside(tmp_path / "digits")
    count = len(np.load(IMAGES)["labels"])
    assert len(here) == count * 10 * 4
    assert there == here
