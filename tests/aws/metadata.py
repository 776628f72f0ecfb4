"""The instance metadata service at 169.254.169.254, with sessions only (IMDSv2).

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from testhosts import network
from testhosts.command import run
from tests.aws.loopback import HOSTS

ADDRESS = "169.254.169.254"
CREDENTIALS = "/latest/meta-data/iam/security-credentials/"


class Metadata(ThreadingHTTPServer):
    """Serves each instance its metadata, by the address of the client."""

    def __init__(self, address: str, region: str, role: str) -> None:
        super().__init__((address, 0), Answer)
        self.region = region
        self.role = role
        self.tokens: set[str] = set()
        self.instances: dict[str, str] = {}
        """The ids of the instances, by private address."""

    def of(self, address: str) -> dict[str, str]:
        """Return the metadata of the instance at an address, by path."""
        credentials = {
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": HOSTS, "SecretAccessKey": "test",
            "Token": "test", "LastUpdated": "2026-01-01T00:00:00Z",
            "Expiration": "2099-01-01T00:00:00Z",
        }  # fmt: skip
        return {
            "/latest/meta-data/instance-id": self.instances.get(address, ""),
            "/latest/meta-data/placement/region": self.region,
            "/latest/meta-data/placement/availability-zone": f"{self.region}a",
            CREDENTIALS: self.role,
            CREDENTIALS + self.role: json.dumps(credentials),
        }


class Answer(BaseHTTPRequestHandler):
    """The handler of a metadata request."""

    server: Metadata

    def do_PUT(self) -> None:
        asked = "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
        if self.path != "/latest/api/token" or not asked:
            self._say(400, "")
            return
        token = secrets.token_hex(16)
        self.server.tokens.add(token)
        self._say(200, token)

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            self._say(401, "")
            return
        text = self.server.of(self.client_address[0]).get(self.path)
        self._say(404 if text is None else 200, text or "")

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(gateway: str, region: str, role: str) -> Iterator[Metadata]:
    """Serve the metadata to the hosts behind a gateway."""
    server = Metadata(gateway, region, role)
    rule = [
        "PREROUTING", "-i", network.bridge_name(gateway), "-d", ADDRESS, "-p", "tcp",
        "--dport", "80", "-j", "DNAT", "--to-destination", f"{gateway}:{server.server_address[1]}",
    ]  # fmt: skip
    run(["iptables", "-w", "5", "-t", "nat", "-I", *rule], timeout_s=20)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        run(["iptables", "-w", "5", "-t", "nat", "-D", *rule], timeout_s=20)
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
