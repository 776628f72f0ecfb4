"""Archives over TLS: the certificate must be of the host that the URL names."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mms_server.config import model_uri
from mms_server.core.errors import ArchiveError
from tests.fixtures.web_answers import status, whole
from tests.fixtures.web_server import Bench, Web

CONTENT = b"PK\x03\x04content"


def certificate(directory: Path, name: x509.GeneralName) -> ssl.SSLContext:
    """Write a certificate that signs itself; return a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "cert.pem").write_bytes(made.public_bytes(pem))
    (directory / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


def fetch(bench: Bench, web: Web) -> bytes:
    url = web.url().replace("http:", "https:")
    fetched = bench.fetcher.fetch(model_uri.parse(url), lambda _digest: False)
    assert fetched.file is not None
    return fetched.file.read_bytes()


def test_a_certificate_of_the_host_is_believed(
    bench: Bench, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.use_tls(certificate(tmp_path, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    web.answers = [whole(CONTENT)]
    assert fetch(bench, web) == CONTENT


@pytest.mark.parametrize("known", [True, False])
def test_another_hosts_or_an_unknown_certificate_is_not(
    bench: Bench, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    address = "127.0.0.2" if known else "127.0.0.1"
    web.use_tls(certificate(tmp_path, x509.IPAddress(ipaddress.ip_address(address))))
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    web.answers = [whole(CONTENT)]
    with pytest.raises(ArchiveError, match="its certificate is bad"):
        fetch(bench, web)
    assert web.requests == []


def test_a_redirect_from_https_to_http_is_refused(
    bench: Bench, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.use_tls(certificate(tmp_path, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    web.answers = [status(302, Location=web.url())]
    with pytest.raises(ArchiveError, match="redirects from https to http"):
        fetch(bench, web)
