"""Free TCP ports on loopback for servers that tests start."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
