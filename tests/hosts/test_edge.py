"""[Nginx Configurations] of mms.conf becomes nginx.conf; an invalid one never becomes live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests import lab

pytestmark = pytest.mark.fleet

GOOD = (lab.MODELS / "mms.conf").read_text(encoding="utf-8")
EDGE = """
[Nginx Configurations]
server {
    listen       8080;
    location / {
        proxy_pass http://unix:/tmp/mms_app.sock;
    }
}
"""
PAST = "        proxy_past http://unix:/tmp/mms_app.sock;"


@pytest.fixture(scope="module")
def restored_edge() -> Iterator[None]:
    yield
    done = lab.playbook("playbooks/update_models.yml")
    assert done.returncode == 0, done.stdout


def update(tmp_path: Path, text: str, *more: str) -> tuple[int, str]:
    conf = tmp_path / "mms.conf"
    conf.write_text(text, encoding="utf-8")
    variable = f"--extra-vars=mms_service_conf={conf}"
    done = lab.playbook("playbooks/update_models.yml", variable, *more)
    return done.returncode, " ".join(done.stdout.split())


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("restored_edge")
def test_an_invalid_edge_is_refused_and_the_old_one_stays_live(tmp_path: Path) -> None:
    checksum = "sha256sum /etc/nginx/nginx.conf"
    before = [lab.on(machine, checksum) for machine in lab.fleet()]
    code, output = update(tmp_path, GOOD + EDGE.replace("proxy_pass", "proxy_past"))
    assert code != 0
    assert 'unknown directive "proxy_past"' in output
    line = (GOOD + EDGE).replace("proxy_pass", "proxy_past").splitlines().index(PAST) + 1
    assert f"mms.conf:{line}: nginx refuses the configuration" in output
    assert "Fix: correct [Nginx Configurations]" in output
    assert [lab.on(machine, checksum) for machine in lab.fleet()] == before
    assert [lab.predict(machine)["class"] for machine in lab.fleet()] == ["7", "7"]


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("restored_edge")
def test_edge_of_mms_conf_serves(tmp_path: Path) -> None:
    code, output = update(tmp_path, GOOD + EDGE, "--extra-vars=mms_verify_port=8080")
    assert code == 0, output
    for machine in lab.fleet():
        edge = lab.Machine(machine.name, f"{machine.address}:8080")
        assert lab.predict(edge)["class"] == "7"
        assert requests.get(f"{edge.url}/ping", timeout=10).json() == {"health": "healthy!"}
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{machine.url}/ping", timeout=10)
