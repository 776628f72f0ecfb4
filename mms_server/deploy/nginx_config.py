"""The edge of a host: ``nginx.conf``, made of the role's frame and what ``mms.conf`` says.

``[Nginx Configurations]`` stands in it as it is (contract, section 3.6), and the router listens
where gunicorn's ``--bind`` says, since that is where such a section passes requests to. Without the
section the frame's own server block serves. The whole file is checked by nginx before it replaces
the one in use.

A reload of nginx closes connections that are idle, and a request that a client is just sending on
one is lost (250 of 2899 with 32 such clients and 8 reloads). So before it, for as long as a file is
there, nginx ends each connection with its next answer, as HTTP/1.1 lets a client know; when those
that were open are gone, there is nothing that a reload could cut. The file stays until the old
workers have ended: they answer for a moment after the new ones are there, and would let a client
believe that its connection stays.
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
"""Replaces ``server_name``: a variable of the command, else of ``[MXNet Environment Variables]``,
else what the role wrote into the frame."""

# The frame's own words; what stands between the last two is the server block without a section.
_LISTEN: Final = "@router_listen@"
_BEGIN: Final = "# mms edge: begin\n"
_END: Final = "# mms edge: end\n"

# What a server block includes to end its connections before a reload; the role writes it.
_CLOSING: Final = "nginx.closing.conf"
_KEEPALIVE: Final = re.compile(r"^# mms edge: keepalive_timeout ([0-9]+)$", re.MULTILINE)
_DEFAULT_KEEPALIVE_S: Final = 75
# nginx ends an idle connection not to the second.
_MARGIN_S: Final = 5

_NAME: Final = re.compile(r"^# mms edge: server_name (.*)$", re.MULTILINE)
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9._*~^$:\[\]\\ -]")
_SERVER_NAME: Final = re.compile(r"(?<![\w$])server_name\s[^;{}]*;")
_EMERGENCY: Final = re.compile(r"\[emerg\] (?:[0-9]+#[0-9]+: )?(.*)")
_COMPLAINT_LINE: Final = re.compile(r" in (?P<file>\S+):(?P<line>[0-9]+)")


@dataclass(frozen=True)
class Edge:
    """A whole ``nginx.conf``; ``first`` is the line of it that the section begins on.

    ``lines`` are the lines of ``mms.conf`` that the section's lines stand on.
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
    """What was done to ``nginx.conf``, or would be; ``before`` and ``after`` are its texts.

    ``cut`` are connections that were still open when nginx was reloaded.
    """

    changed: bool
    listen: str
    before: str
    after: str
    cut: int = 0


def nginx_listen(bind: str | None) -> str:
    """Return gunicorn's ``--bind`` in the words of nginx's ``listen``."""
    address = bind or DEFAULT_BIND
    return f"*{address}" if address.startswith(":") else address


def compose(frame: str, conf: MmsConf, environ: Mapping[str, str]) -> Edge:
    """Return the ``nginx.conf`` that ``conf`` asks for.

    Raises:
        MMSError: the frame has no place for it, or the host name cannot be one.
    """
    head, begin, rest = frame.partition(_BEGIN)
    own, end, tail = rest.partition(_END)
    if not (begin and end and _LISTEN in frame):
        raise MMSError("nginx.conf's frame is not one.", fix="run the role nginx_proxy.")
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
        cause = f"{HOST_VARIABLE} is {name!r}, which is no name of a server."
        raise MMSError(cause, fix="give host names, separated by blanks.")
    return name.strip()


def _named(section: str, name: str) -> str:
    """Return the section with its server names replaced, line for line."""
    if not name:
        return section

    def replaced(found: re.Match[str]) -> str:
        return f"server_name {name};" + "\n" * found[0].count("\n")

    return _SERVER_NAME.sub(replaced, section)


def check(
    layout: Layout, conf: MmsConf, environ: Mapping[str, str], proxy: Proxy
) -> tuple[EdgeOutcome, Edge]:
    """Return what :func:`install` would do, after nginx's own check; nothing is replaced.

    Raises:
        ConfError: nginx refuses the section; with nginx's words and the line of ``mms.conf``.
        MMSError: there is no frame, or nginx refuses it.
        SupervisorError: nginx cannot be asked.
    """
    edge = compose(_frame(layout), conf, environ)
    live = layout.nginx / "nginx.conf"
    before = live.read_text("utf-8", "replace") if live.exists() else ""
    changed = edge.text != before or _pending(layout).exists()
    if changed:
        # Beside the live file: nginx takes relative paths from there.
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
    """Let nginx serve as ``conf`` says: reloaded when it has changed, started when it is stopped.

    Raises:
        MMSError: as for :func:`check`.
        SupervisorError: nginx did not take it; the file that was in use is back.
    """
    outcome, edge = check(layout, conf, environ, proxy)
    _write_socket(layout, edge.listen)
    running = proxy.pid() > 0
    closing = layout.run / "edge.closing"
    # One that a killed run left costs clients their idle connections for nothing.
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
        # Tells, until nginx has taken it, that a run which was killed is to be completed.
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
    """Return how long the nginx that runs keeps an idle connection."""
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
    """Name the router's socket for nginx's unit, which removes one that a crash left over."""
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
        # A brace that is missing, or one too many: nginx sees it behind the section.
        line = edge.lines[-1] if edge.lines else 0
    if found:
        words = words.replace(found[0], f" in {conf.file}:{line}" if line else " in nginx.conf")
    cause = f"nginx refuses the configuration: {words.rstrip('.')}. Nothing was replaced."
    if conf.nginx is None or 0 < place < edge.first:
        return MMSError(cause, fix="correct the variables of the role nginx_proxy.")
    return ConfError(conf.file, line, cause, fix="correct [Nginx Configurations].")
