"""nginx on loopback with the templates of the role, and wrk: both unpacked from Debian's packages.

Nothing is installed, and no unit starts. Only the paths in the templates are replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mms_server.config import mms_conf
from mms_server.core.paths import Layout
from mms_server.deploy import nginx_config
from tests.fixtures.servers import BIN, ROOT, until

_PACKAGES = ("nginx", "nginx-common", "wrk", "libluajit-5.1-2")
_DOWNLOAD_LIMIT_S = 120.0
_ROLE = ROOT / "roles/nginx_proxy"
_CONF = """\
[MMS Arguments]
--models
any=any.model
[Gunicorn Arguments]
--bind
unix:{socket}
"""
_SPOOLS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Programs:
    """The directory of the unpacked packages of Debian."""

    root: Path

    @property
    def nginx(self) -> str:
        """The path of nginx."""
        return str(self.root / "usr/sbin/nginx")

    @property
    def wrk(self) -> str:
        """The path of wrk."""
        return str(self.root / "usr/bin/wrk")

    @property
    def environment(self) -> dict[str, str]:
        """The environment with the library path of wrk."""
        found = next(self.root.glob("usr/lib/*/libluajit*.so.2"))
        return {**os.environ, "LD_LIBRARY_PATH": str(found.parent)}


def programs(directory: Path) -> Programs:
    """Return nginx and wrk; the first call downloads them with apt.

    Raises:
        CalledProcessError: apt or dpkg fails; its output has the cause.
    """
    unpacked = directory / "debian"
    if not unpacked.exists():
        fetched, part = directory / "packages", directory / "debian.part"
        for old in (fetched, part):
            shutil.rmtree(old, ignore_errors=True)
        fetched.mkdir(parents=True)
        command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *_PACKAGES]
        subprocess.run(command, cwd=fetched, check=True, timeout=_DOWNLOAD_LIMIT_S)
        for package in sorted(fetched.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, part], check=True, timeout=_DOWNLOAD_LIMIT_S)
        part.rename(unpacked)
    return Programs(unpacked)


@contextlib.contextmanager
def nginx(
    place: Path, port: int, found: Programs, **variables: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx on a port of loopback, with the directory ``place`` as the root of a host.

    ``variables`` are the role's. The router listens on ``router.sock`` in the directory.
    """
    layout = Layout.under(place)
    log, state = place / "var/log/nginx", place / "var/lib/nginx"
    for directory in (log, state, layout.live, layout.etc):
        directory.mkdir(parents=True, exist_ok=True)
    for template in ("nginx.conf.frame", "closing.conf"):
        listen = {"nginx_proxy_listen": [f"127.0.0.1:{port}"]}
        write_template(template, layout.etc / template, listen | variables)
    frame = (layout.etc / "nginx.conf.frame").read_text()
    router = mms_conf.parse(_CONF.format(socket=place / "router.sock"), place / "mms.conf")
    text = nginx_config.compose(frame, router, {}).text
    spools = "".join(f"    {name}_temp_path {state}/{name};\n" for name in _SPOOLS)
    here = (
        ("user www-data;", f"user {pwd.getpwuid(os.getuid()).pw_name};"),
        ("/var/lib/nginx", str(state)),
        ("http {\n", "http {\n" + spools),
        ("/etc/mms/nginx.closing.conf", str(layout.etc / "closing.conf")),
        ("/etc/nginx/", f"{found.root}/etc/nginx/"),
        ("/run/nginx.pid", str(place / "nginx.pid")),
        ("/run/mms", str(layout.run)),
        ("/var/log/nginx", str(log)),
    )
    for ours, theirs in here:
        text = text.replace(ours, theirs)
    written = place / "nginx.conf"
    written.write_text(text)
    process = subprocess.Popen(
        [found.nginx, "-e", str(log / "error.log"), "-c", str(written), "-g", "daemon off;"]
    )
    try:
        until(lambda: process.poll() is not None or (place / "nginx.pid").exists())
        if process.poll() is not None:
            raise RuntimeError(f"nginx does not start: {(log / 'error.log').read_text()}")
        yield process
    finally:
        process.terminate()
        process.wait(10)


def write_template(name: str, target: Path, variables: Mapping[str, Any]) -> None:
    """Write a template of the role, with these variables, as the role does."""
    command = [
        str(BIN / "ansible"),
        "localhost",
        "--connection=local",
        "--inventory=localhost,",
        "--module-name=ansible.builtin.template",
        f"--args=src={_ROLE}/templates/{name}.j2 dest={target}",
        f"--extra-vars=@{_ROLE}/defaults/main.yml",
        *(f"--extra-vars=@{file}" for file in sorted((_ROLE / "vars").glob("*.yml"))),
        f"--extra-vars={json.dumps(variables)}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"the template {name} cannot be written: {done.stdout}{done.stderr}")
