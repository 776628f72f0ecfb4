"""``nginx.conf`` of a host, made from the role's frame and ``mms.conf``.

The text of ``[Nginx Configurations]`` is copied unchanged (compatibility.md, 3.6). The router
listens on the address of gunicorn's ``--bind``, because such a section passes requests there.
Without the section, the server block of the frame serves. nginx checks the whole file before it
replaces the one in use.

A reload of nginx closes idle connections. A request that a client is just sending on one of them is
lost (250 of 2899 with 32 such clients and 8 reloads). So before a reload, for as long as a file
exists, nginx closes each connection after its next answer, which HTTP/1.1 tells the client. When
all connections that were open then are closed, a reload cannot cut any. The file stays until the
old workers have ended: they still answer for a moment after the new workers started, and a client
would believe that its connection stays open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.config.mms_conf import MmsConf
from mms_server.core.errors import ConfError, MMSError
from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout
from mms_server.host.nginx import Proxy

DEFAULT_BIND: Final = "unix:/tmp/mms_app.sock"
HOST_VARIABLE: Final = "MXNET_MODEL_SERVER_HOST"
"""Its value replaces ``server_name``. It is a variable of the command's environment, else of
``[MXNet Environment Variables]``, else the value that the role wrote into the frame."""

# Marks in the frame. Between the last two is the server block for an mms.conf without a section.
_LISTEN: Final = "@router_listen@"
_BEGIN: Final = "# mms edge: begin\n"
_END: Final = "# mms edge: end\n"

# Server blocks include this file, so that nginx closes their connections before a reload.
_CLOSING: Final = "nginx.closing.conf"
_KEEPALIVE: Final = re.compile(r"^# mms edge: keepalive_timeout ([0-9]+)$", re.MULTILINE)
_DEFAULT_KEEPALIVE_S: Final = 75
# nginx closes idle connections up to some seconds late.
_MARGIN_S: Final = 5

_NAME: Final = re.compile(r"^# mms edge: server_name (.*)$", re.MULTILINE)
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9._*~^$:\[\]\\ -]")
_SERVER_NAME: Final = re.compile(r"(?<![\w$])server_name\s[^;{}]*;")
_EMERGENCY: Final = re.compile(r"\[emerg\] (?:[0-9]+#[0-9]+: )?(.*)")
_COMPLAINT_LINE: Final = re.compile(r" in (?P<file>\S+):(?P<line>[0-9]+)")


@dataclass(frozen=True)
class Edge:
    """A whole ``nginx.conf``; ``first`` is its line on which the section begins.

    ``lines`` are the line numbers of the section in ``mms.conf``.
    """

    text: str
    listen: str
    first: int
    lines: tuple[int, ...]

    def conf_line(self, line: int) -> int:
        """Return the line of ``mms.conf`` for a line of ``text``, 0 if it comes from the frame."""
        place = line - self.first
        return self.lines[place] if 0 <= place < len(self.lines) else 0


@dataclass(frozen=True)
class EdgeOutcome:
    """The change of ``nginx.conf``, made or planned; ``before`` and ``after`` are its texts.

    ``cut`` is the number of connections that were still open when nginx was reloaded.
    """

    changed: bool
    listen: str
    before: str
    after: str
    cut: int = 0


def nginx_listen(bind: str | None) -> str:
    """Return gunicorn's ``--bind`` in the syntax of nginx's ``listen``."""
    address = bind or DEFAULT_BIND
    return f"*{address}" if address.startswith(":") else address


def compose(frame: str, conf: MmsConf, environ: Mapping[str, str]) -> Edge:
    """Return the ``nginx.conf`` of a host with this ``mms.conf``.

    Raises:
        MMSError: the frame has no marks, or the host name is not valid.
    """
    head, begin, rest = frame.partition(_BEGIN)
    own, end, tail = rest.partition(_END)
    if not (begin and end and _LISTEN in frame):
        raise MMSError(
            "nginx.conf.frame has no marks of `mms edge`.", fix="run the role nginx_proxy."
        )
    listen = nginx_listen(conf.bind)
    section = _named(conf.nginx or "", _host_name(frame, conf, environ))
    before = (head + begin).replace(_LISTEN, listen)
    after = (section or own) + end + tail
    text = before + (after if section else after.replace(_LISTEN, listen))
    return Edge(text, listen, before.count("\n") + 1, conf.nginx_lines)


def _host_name(frame: str, conf: MmsConf, environ: Mapping[str, str]) -> str:
    found = _NAME.search(frame)
    written = found[1] if found else ""
    name = environ.get(HOST_VARIABLE) or conf.environment.get(HOST_VARIABLE) or written
    if _NOT_A_NAME.search(name):
        cause = f"{HOST_VARIABLE} is {name!r}, which is not a valid server name."
        raise MMSError(cause, fix="set it to host names, separated by blanks.")
    return name.strip()


def _named(section: str, name: str) -> str:
    """Return the section with its server names replaced; the number of lines stays."""
    if not name:
        return section

    def replaced(found: re.Match[str]) -> str:
        return f"server_name {name};" + "\n" * found[0].count("\n")

    return _SERVER_NAME.sub(replaced, section)


def check(
    layout: Layout, conf: MmsConf, environ: Mapping[str, str], proxy: Proxy
) -> tuple[EdgeOutcome, Edge]:
    """Return the change that :func:`install` would make, checked by nginx; nothing is replaced.

    Raises:
        ConfError: nginx refuses the section; the error has nginx's message and the line of
            ``mms.conf``.
        MMSError: there is no frame, or nginx refuses the frame.
        SupervisorError: nginx cannot be run.
    """
    edge = compose(_frame(layout), conf, environ)
    live = layout.nginx / "nginx.conf"
    before = live.read_text("utf-8", "replace") if live.exists() else ""
    changed = edge.text != before or _pending(layout).exists()
    if changed:
        # In the directory of the live file, since nginx resolves relative paths from there.
        candidate = layout.nginx / ".nginx.conf.candidate"
        try:
            write_atomically(candidate, edge.text)
            complaint = proxy.check_config(candidate)
        finally:
            candidate.unlink(missing_ok=True)
        if complaint:
            raise _refusal(conf, edge, candidate, complaint)
    return EdgeOutcome(changed, edge.listen, before, edge.text), edge


def install(layout: Layout, conf: MmsConf, environ: Mapping[str, str], proxy: Proxy) -> EdgeOutcome:
    """Write ``nginx.conf``; reload nginx if the file changed, or start it if it is stopped.

    Raises:
        MMSError: as for :func:`check`.
        SupervisorError: nginx did not load the file; the file that was in use is back.
    """
    outcome, edge = check(layout, conf, environ, proxy)
    _write_socket(layout, edge.listen)
    running = proxy.pid() > 0
    closing = layout.run / "edge.closing"
    # A killed run may have left the file, which costs clients their connections for nothing.
    closing.unlink(missing_ok=True)
    cut = 0
    try:
        if outcome.changed and running and _CLOSING in outcome.before:
            write_atomically(closing, "")
            cut = proxy.drain_keepalive(_keepalive_s(outcome.before) + _MARGIN_S)
        _take(layout, edge, outcome, proxy, running=running)
    finally:
        closing.unlink(missing_ok=True)
    return EdgeOutcome(outcome.changed or not running, edge.listen, outcome.before, edge.text, cut)


def _take(layout: Layout, edge: Edge, outcome: EdgeOutcome, proxy: Proxy, *, running: bool) -> None:
    live, pending = layout.nginx / "nginx.conf", _pending(layout)
    if outcome.changed:
        # It exists until nginx has loaded the new nginx.conf: if this run is killed, the next run
        # completes it.
        write_atomically(pending, "")
        write_atomically(live, edge.text)
    try:
        if not running:
            proxy.start()
        elif outcome.changed:
            proxy.reload()
    except MMSError:
        if outcome.before and outcome.before != edge.text:
            write_atomically(live, outcome.before)
            pending.unlink(missing_ok=True)
        raise
    pending.unlink(missing_ok=True)


def _keepalive_s(text: str) -> int:
    """Return how long nginx with this ``nginx.conf`` keeps an idle connection."""
    found = _KEEPALIVE.search(text)
    return int(found[1]) if found else _DEFAULT_KEEPALIVE_S


def _frame(layout: Layout) -> str:
    file = layout.etc / "nginx.conf.frame"
    try:
        return file.read_text("utf-8")
    except OSError as error:
        cause = f"{file} cannot be read: {error.strerror}."
        raise MMSError(cause, fix="run the role nginx_proxy.") from error


def _pending(layout: Layout) -> Path:
    return layout.run / "edge.pending"


def _write_socket(layout: Layout, listen: str) -> None:
    """Write the path of the router's socket for nginx's unit, which removes it after a crash."""
    path = listen.removeprefix("unix:") if listen.startswith("unix:") else ""
    file, text = layout.etc / "nginx.env", f"MMS_ROUTER_SOCKET={path}\n"
    if not file.exists() or file.read_text("utf-8") != text:
        write_atomically(file, text)


def _refusal(conf: MmsConf, edge: Edge, candidate: Path, complaint: str) -> MMSError:
    words = " ".join(_EMERGENCY.findall(complaint)) or " ".join(complaint.split())
    found = _COMPLAINT_LINE.search(words)
    place = int(found["line"]) if found and found["file"] == str(candidate) else 0
    line = edge.conf_line(place)
    if place >= edge.first and not line:
        # A missing or surplus brace: nginx reports it after the end of the section.
        line = edge.lines[-1] if edge.lines else 0
    if found:
        words = words.replace(found[0], f" in {conf.file}:{line}" if line else " in nginx.conf")
    cause = f"nginx refuses the configuration: {words.rstrip('.')}. Nothing was replaced."
    if conf.nginx is None or 0 < place < edge.first:
        return MMSError(cause, fix="correct the variables of the role nginx_proxy.")
    return ConfError(conf.file, line, cause, fix="correct [Nginx Configurations].")
