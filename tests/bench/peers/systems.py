"""The peers: each is installed, started, requested and updated as it documents."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import time
from collections.abc import Sequence
from typing import Final

from mms_server.archives.extract import unpack
from tests.bench.peers import environments
from tests.bench.peers.environments import LITSERVE
from tests.bench.peers.java_servers import MultiModelServer, MultiModelServerBatches, TorchServe
from tests.bench.peers.peer import APPS, Peer
from tests.compat.record import record
from tests.fixtures.servers import ROOT

_UNPACK: Final = (
    "import sys; from mms.model_loader import ModelLoader; "
    "ModelLoader.load(dict(pair.split('=', 1) for pair in sys.argv[1:]))"
)
# The wait of the image's script between the end of the old processes and the start of new ones.
_ORIGINAL_PAUSE_S: Final = 5.0


class Original(Peer):
    """MXNet Model Server 0.4 as its image runs it: nginx, gunicorn with gevent, Flask."""

    name = "mms 0.4"
    update_is = "`restart`: kill, wait 5 s, start"

    def prepare(self) -> None:
        self._venv = environments.original()
        self._socket = self.job.directory / "mms_app.sock"
        root, place = self.job.found.root, self.job.directory
        # The server block of the image's configuration, on a port of loopback.
        (place / "nginx.conf").write_text(
            f"daemon off; worker_processes auto; pid {place}/nginx.pid;\n"
            f"user {pwd.getpwuid(os.getuid()).pw_name};\n"
            f"error_log {place}/nginx-error.log;\nevents {{ worker_connections 768; }}\n"
            f"http {{ sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 65; gzip on;\n"
            f"include {root}/etc/nginx/mime.types; access_log {place}/nginx-access.log;\n"
            f"client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n"
            f"fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi;\n"
            f"scgi_temp_path {place}/scgi;\n"
            f"server {{ listen 127.0.0.1:{self.port};\n"
            f"location / {{ proxy_pass http://unix:{self._socket}; }} }} }}\n"
        )

    def served(self) -> Sequence[str]:
        """Return the endpoint names under which it serves the archive."""
        return (self.job.name,)

    def launch(self) -> None:
        place = self.job.directory
        pairs = [
            f"{name}={shutil.copy(self.job.archive, place / f'{name}.model')}"
            for name in self.served()
        ]
        # Unpacked once, as by the image's script: parallel workers would see partial models.
        self.run(self._venv / "bin/python", "-c", _UNPACK, *pairs)
        nginx = [self.job.found.nginx, "-e", place / "nginx.log", "-c", place / "nginx.conf"]
        self.spawn(nginx, "nginx-out.log")
        self.spawn(
            [
                self._venv / "bin/gunicorn",
                f"--bind=unix:{self._socket}",
                f"--workers={self.job.workers}",
                "--worker-class=gevent",
                "--limit-request-line=0",
                "glue",
            ],
            "gunicorn.log",
            COMPAT_MODELS=" ".join(pairs),
            PYTHONPATH=str(record.HERE / "python2"),
        )

    @property
    def path(self) -> str:
        return f"/{self.job.name}/predict"

    def update(self) -> None:
        self.stop(signal.SIGKILL)
        time.sleep(_ORIGINAL_PAUSE_S)
        self.launch()
        self.wait()


class LitServe(Peer):
    """LitServe with a worker per core."""

    name = "litserve 0.2.19"
    update_is = "restart: it has no other"

    def prepare(self) -> None:
        directory = ROOT / "build/bench/peers/litserve"
        self._venv = environments.made(directory, environments.interpreter("3.11"), LITSERVE)
        unpack(self.job.archive, self.job.directory / "source")

    def launch(self) -> None:
        command = [self._venv / "bin/python", APPS / "litserve_app.py"]
        command += [self.job.directory / "source", str(self.port), str(self.job.workers)]
        self.spawn(command, "server.log")

    @property
    def path(self) -> str:
        return "/predict"


PEERS: Final[dict[str, type[Peer]]] = {
    "mms-0.4": Original,
    "multi-model-server": MultiModelServer,
    "multi-model-server-batches": MultiModelServerBatches,
    "litserve": LitServe,
    "torchserve": TorchServe,
}
