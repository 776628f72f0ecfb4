"""Invalid input stops a play with file, line and fix, before a change of what the host serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import lab

GOOD = (lab.MODELS / "mms.conf").read_text(encoding="utf-8")
SERVING = (
    "cat /var/lib/mms/generations/*; systemctl show --property=MainPID,ActiveEnterTimestamp "
    "'mms@*.service' mms-control.service nginx.service; sha256sum /efs/models/*"
)
LINE = "digits=/efs/models/digits.model"


@pytest.mark.fleet
@pytest.mark.one_host
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["site.yml", "playbooks/update_models.yml"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[Surprise]\n" + GOOD, ":1: unknown section header [Surprise]", id="header"),
        pytest.param(GOOD.replace(LINE, "optional"), "no models are given", id="no-models"),
        pytest.param(
            GOOD.replace(LINE, f"{LINE} {LINE}"), ":4: model digits is given twice", id="twice"
        ),
        pytest.param(
            GOOD.replace("digits.model", "missing.model"),
            ":4: model digits: its archive is neither in",
            id="archive",
        ),
    ],
)
def test_bad_input_stops_the_play(
    host: Any, tmp_path: Path, name: str, text: str, expected: str
) -> None:
    conf = tmp_path / "mms.conf"
    conf.write_text(text, encoding="utf-8")
    before = host.check_output(SERVING)
    done = lab.playbook(name, f"--extra-vars=mms_service_conf={conf}", timeout_s=180)
    output = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert str(conf) in output
    assert expected in output
    assert "Fix: " in output
    assert "changed=0" in output
    assert "changed=1" not in output
    assert host.check_output(SERVING) == before
