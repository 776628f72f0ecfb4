"""The control application of a host: health and description. ``python -m mms_server.control``.

It answers for all models without asking any of them, and imports no engine. The launcher becomes
gunicorn and keeps its process id, so systemd's socket and readiness protocol hold.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import bottle

from mms_server import archive, health, replies
from mms_server.conf import DEFAULT_HOST, DEFAULT_PORT
from mms_server.description import describe
from mms_server.errors import MMSError
from mms_server.generations import Generation
from mms_server.health import NewestGeneration
from mms_server.layout import Layout
from mms_server.release import Release
from mms_server.signature import Signature

_ARGUMENTS = (
    "--workers=1",
    "--worker-class=gevent",
    "--no-control-socket",
    "--graceful-timeout=10",
    "--log-level=warning",
)
_UNAVAILABLE = 503


class Control:
    """What the routes read; answers are made anew for every request, from a few small files."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._newest = NewestGeneration(layout)
        self._signatures: dict[str, Signature] = {}

    def healthy(self) -> bool:
        """Return whether every wanted model is ready; a host that wants none is not healthy."""
        try:
            generation = self._newest.get()
            if generation is None or not generation.models:
                return False
            found = health.of_models(self._layout, generation.models)
        except (MMSError, OSError) as error:
            _log(f"the host's health cannot be read: {error}")
            return False
        return all(model.ready for model in found.values())

    def description(self) -> dict[str, Any]:
        """Return the API description of the newest generation's models.

        Raises:
            MMSError: a release or its signature cannot be read.
            OSError: the same.
        """
        generation = self._newest.get()
        if generation is None:
            return describe(DEFAULT_HOST, DEFAULT_PORT, {})
        return describe(generation.host, generation.port, self._signatures_of(generation))

    def _signatures_of(self, generation: Generation) -> dict[str, Signature]:
        # Releases and store entries never change, so what was read once stays right.
        known = self._signatures
        self._signatures = {
            release: known.get(release) or self._signature(release)
            for release in generation.models.values()
        }
        return {model: self._signatures[name] for model, name in generation.models.items()}

    def _signature(self, release_id: str) -> Signature:
        text = self._layout.release_file(release_id).read_text("utf-8")
        release = Release.from_json(text)
        return archive.check(self._layout.store / release.archive_sha256)[1]


def create_app(root: str = "/") -> Any:
    """Return the WSGI application for the host below ``root``."""
    control = Control(Layout.under(Path(root)))
    app = replies.contract_app()

    def ping() -> dict[str, str]:
        if control.healthy():
            return {"health": "healthy!"}
        # The original said 200 here too, and balancers sent traffic to hosts that could not serve.
        bottle.response.status = _UNAVAILABLE
        return {"health": "unhealthy!"}

    app.get("/", callback=ping)
    app.get("/ping", callback=ping)
    app.get("/api-description", callback=lambda: {"description": control.description()})
    return app


def command(root: Path, bind: str | None) -> list[str]:
    """Return gunicorn's command line; systemd passes the socket unless ``bind`` is given."""
    address = [f"--bind={bind}"] if bind else []
    app = f"mms_server.control:create_app({str(root)!r})"
    return [sys.executable, "-m", "gunicorn", *_ARGUMENTS, *address, app]


def main(argv: Sequence[str] | None = None) -> int:
    """Become gunicorn; return only with an exit code that is an error."""
    parser = argparse.ArgumentParser(
        prog="python -m mms_server.control",
        description="Answer for this host: health, description.",
    )
    parser.add_argument("--layout-root", type=Path, default=Path("/"), help="stands for / in tests")
    parser.add_argument("--bind", help="address to listen on, where systemd passes no socket")
    options = parser.parse_args(argv)
    passed = os.environ.get("LISTEN_PID") == str(os.getpid())
    if passed or options.bind:
        _become(command(options.layout_root, options.bind))
    _log("no socket was passed. Fix: start mms-control.socket, or give --bind.")
    return 2


def _become(words: list[str]) -> NoReturn:
    os.execv(words[0], words)  # noqa: S606 - no shell


def _log(text: str) -> None:
    print(f"mms_server.control: {text}", file=sys.stderr)  # noqa: T201 - the journal reads it


if __name__ == "__main__":
    sys.exit(main())
