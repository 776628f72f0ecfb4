"""Changes of nginx on all hosts under load: a certificate is added, renewed and removed."""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path

import pytest
import requests

from tests import lab
from tests.integration.fleet.conftest import Behind, Proof

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

CONFIGURE = ("playbooks/configure.yml", "--tags=nginx_proxy")


def certificate(directory: Path, hosts: list[lab.Machine]) -> dict[str, str]:
    """Make a certificate for the hosts' addresses; return the role's variables for it."""
    directory.mkdir()
    file, key = directory / "certificate.pem", directory / "key.pem"
    names = ",".join(f"IP:{host.address}" for host in hosts)
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "30", "-subj", "/CN=models.test", "-addext", f"subjectAltName={names}",
        "-out", str(file), "-keyout", str(key),
    ]  # fmt: skip
    subprocess.run(command, timeout=30, check=True, capture_output=True)
    return {
        "nginx_proxy_tls": "files",
        "nginx_proxy_tls_certificate": str(file),
        "nginx_proxy_tls_key": str(key),
    }


def configure(behind: Behind, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    values = f"--extra-vars={json.dumps(variables)}"
    return lab.playbook(*CONFIGURE, *behind.arguments, values)


def assert_shown(host: lab.Machine, variables: dict[str, str]) -> None:
    """Assert that a client is served that trusts only the given certificate."""
    given = Path(variables["nginx_proxy_tls_certificate"])
    shown = ssl.get_server_certificate((host.address, 443), timeout=10)
    assert ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(given.read_text())
    answer = requests.get(f"https://{host.address}/ping", verify=str(given), timeout=10)
    assert answer.json() == {"health": "healthy!"}


def test_certificates_come_and_go(behind: Behind, proof: Proof, tmp_path: Path) -> None:
    first, second = (certificate(tmp_path / name, behind.machines) for name in ("a", "b"))
    mixed = {**first, "nginx_proxy_tls_key": second["nginx_proxy_tls_key"]}
    try:
        with proof("certificate is given"):
            done = configure(behind, first)
        assert done.returncode == 0, done.stdout
        for host in behind.machines:
            assert_shown(host, first)

        with proof("key of another certificate"):
            done = configure(behind, mixed)
        assert done.returncode != 0
        assert "key values mismatch" in done.stdout
        assert_shown(behind.machines[0], first)

        with proof("certificate is renewed"):
            done = configure(behind, second)
        assert done.returncode == 0, done.stdout
        for host in behind.machines:
            assert_shown(host, second)
    finally:
        with proof("certificate is taken away"):
            done = configure(behind, {})
    assert done.returncode == 0, done.stdout
    with pytest.raises(OSError, match="refused"):
        ssl.get_server_certificate((behind.machines[0].address, 443), timeout=10)
