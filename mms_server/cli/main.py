"""``mms``: decide and see what this host serves."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from mms_server.archives.resolver import ArchiveResolver
from mms_server.cli import change_cmds, output
from mms_server.cli.change_cmds import Answer, RefusedPlanError
from mms_server.config import mms_conf, settings
from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.crashes.explain import find as find_deaths
from mms_server.crashes.explain import text as deaths_text
from mms_server.deploy import desired_state, operate
from mms_server.deploy import nginx_config as edges
from mms_server.deploy.host_context import Host
from mms_server.host.lock import locked
from mms_server.host.systemd import Supervisor, Systemd
from mms_server.server import auth

DEFAULT_CONF: Final = Path("/efs/models/mms.conf")
_LOCK_WAIT_S: Final = 60.0
_EXIT_CODES: Final = "exit codes: 0 done or nothing to do, 2 bad input, 3 refused, 4 failed"


def validate(host: Host, options: argparse.Namespace) -> Answer:
    """Check mms.conf and its archives; nothing of a host is needed."""
    parsed = mms_conf.read(options.conf)
    _log, moved = desired_state.log_of(parsed, host.settings, host.layout.log)
    warnings = [*parsed.warnings, *moved]
    with tempfile.TemporaryDirectory(prefix="mms-validate-") as scratch:
        # The store is only asked what it has: an archive in it need not be unpacked again.
        archives = ArchiveResolver(host.store, host.fetcher(Path(scratch)))
        found = [
            {"model": name, "archive": str(place), "sha256": digest}
            for name, place, digest in desired_state.check(parsed, archives, options.archives)
        ]
    answer = {
        "conf": str(options.conf),
        "models": found,
        "bind": parsed.bind,
        "workers": parsed.workers,
        "nginx": parsed.nginx,
        "environment": dict(parsed.environment),
        "warnings": warnings,
    }
    lines = [f"{row['model']}: {row['archive']} is a sound archive" for row in found]
    lines += [f"warning: {text}" for text in warnings]
    return answer, "\n".join([*lines, f"{options.conf} is good."])


def edge(host: Host, options: argparse.Namespace) -> Answer:
    """Let nginx serve as [Nginx Configurations] and --bind of mms.conf say."""
    parsed = mms_conf.read(options.conf)
    if options.check:
        outcome, _edge = edges.check(host.layout, parsed, os.environ, host.proxy)
    else:
        with locked(host.layout, "mms edge", host.now(), wait_s=_LOCK_WAIT_S):
            outcome = edges.install(host.layout, parsed, os.environ, host.proxy)
    words = "serves as"
    if options.check and outcome.changed:
        words = "accepts what"
    text = f"nginx {words} {options.conf} says; router at {outcome.listen}."
    if outcome.cut:
        text += f" {outcome.cut} connections of clients were still open when it was reloaded."
    return asdict(outcome), text


def status(host: Host, _options: argparse.Namespace) -> Answer:
    """Show the live generation and the state of its models."""
    generation, rows = operate.status(host)
    return output.status_json(generation, rows), output.status_text(generation, rows)


def restart(host: Host, options: argparse.Namespace) -> Answer:
    """Restart models one after the other; their sockets keep the requests meanwhile."""
    done = operate.restart(host, options.models)
    return {"restarted": done}, f"Restarted: {', '.join(done) or 'nothing is served here'}."


def relink(host: Host, _options: argparse.Namespace) -> Answer:
    """Rebuild the live links after a boot and let systemd match the newest generation."""
    done = operate.relink(host)
    return {"changed": bool(done), "done": done}, "\n".join(done) or "Nothing to do."


def why(host: Host, options: argparse.Namespace) -> Answer:
    """Show why processes died: of a model or a release, in a request, or by a certificate's id."""
    found = find_deaths(host.layout, options.name)
    return {"deaths": [asdict(row) for row in found]}, deaths_text(options.name, found)


def show_settings(host: Host, options: argparse.Namespace) -> Answer:
    """Show the server's settings, or check a settings file."""
    values = settings.read(options.file) if options.file else host.settings
    text = settings.as_markdown if options.format == "markdown" else settings.as_toml
    return {row.name: getattr(values, row.name) for row in settings.rows()}, text(values).rstrip()


def keys(host: Host, options: argparse.Namespace) -> Answer:
    """Make a key for a client, or list the keys that count on this host; nothing is written."""
    if options.new:
        key = auth.new_key()
        row = {"name": auth.name_of(options.new), "sha256": auth.digest(key)}
        line = f"- {{name: {row['name']}, sha256: {row['sha256']}}}"
        about = "Give it to the client now; only its digest is to be kept, in nginx_proxy_api_keys:"
        return {**row, "key": key}, f"{key}\n{about}\n{line}"
    found = auth.read(options.file or host.layout.etc / auth.FILE_NAME)
    rows = [asdict(row) for row in found]
    return {"keys": rows}, "\n".join(f"{row.name}: {row.sha256}" for row in found) or "No key."


_Command = Callable[[Host, argparse.Namespace], Answer]
_COMMANDS: Final[dict[str, tuple[_Command, str]]] = {
    "validate": (validate, "mms validate --conf build/models/mms.conf --archives build/models"),
    "plan": (change_cmds.plan, "mms plan --conf /efs/models/mms.conf"),
    "apply": (change_cmds.apply, "mms apply --conf /efs/models/mms.conf --json"),
    "prefetch": (change_cmds.prefetch, "mms prefetch --conf /efs/models/mms.conf"),
    "rollback": (change_cmds.rollback, "mms rollback --to 12"),
    "edge": (edge, "mms edge --conf /efs/models/mms.conf --check"),
    "status": (status, "mms status"),
    "restart": (restart, "mms restart digits"),
    "relink": (relink, "mms relink"),
    "releases": (change_cmds.releases, "mms releases --json"),
    "gc": (change_cmds.gc, "mms gc --check"),
    "tune": (change_cmds.tune, "mms tune digits --p99 50ms --check"),
    "why": (why, "mms why digits"),
    "keys": (keys, "mms keys --new shop"),
    "settings": (show_settings, "mms settings --format markdown"),
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="mms", description="Decide and see what this host serves.", epilog=_EXIT_CODES
    )
    top.add_argument("--layout-root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    commands = top.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, (act, example) in _COMMANDS.items():
        about = act.__doc__ or ""
        sub = commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=f"example: {example}\n{_EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        if name in ("validate", "plan", "apply", "prefetch", "edge", "tune"):
            text = "the mms.conf to read"
            text += ", and to write" if name == "tune" else ""
            text += " (default: %(default)s)"
            sub.add_argument("--conf", type=Path, default=DEFAULT_CONF, help=text)
        if name == "validate":
            text = "directory to look in first for a location's base name"
            sub.add_argument("--archives", type=Path, metavar="DIR", help=text)
        if name in ("plan", "apply", "rollback"):
            text = "let a release that does not fit beside the old one start after its end"
            sub.add_argument("--allow-gap", action="store_true", help=text)
        if name == "rollback":
            text = "number of the generation (default: the one before the live one)"
            sub.add_argument("--to", type=int, metavar="N", help=text)
        if name in ("edge", "rollback", "gc", "tune"):
            sub.add_argument("--check", action="store_true", help="only show what would be done")
        _own_options(sub, name)
    return top


def _own_options(sub: argparse.ArgumentParser, name: str) -> None:
    """Add the options that one command alone has."""
    if name == "restart":
        sub.add_argument("models", nargs="*", metavar="MODEL", help="models (default: all)")
    if name == "why":
        text = "model, release, X-Request-Id, or id of a certificate"
        sub.add_argument("name", metavar="NAME", help=text)
    if name == "tune":
        sub.add_argument("model", metavar="MODEL", help="a model that this host serves")
        text = "what 99 of 100 answers are to take at most, as 50ms or 0.5s"
        sub.add_argument("--p99", type=_milliseconds, required=True, metavar="TIME", help=text)
    if name == "keys":
        text = "print a new key for this client, and its digest"
        sub.add_argument("--new", metavar="NAME", help=text)
        sub.add_argument("--file", type=Path, help="read this file, not the host's")
    if name == "settings":
        sub.add_argument("--format", choices=("toml", "markdown"), default="toml")
        sub.add_argument("--file", type=Path, help="read this file, not the host's")


def _milliseconds(text: str) -> float:
    """Return a time in milliseconds."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s)", text)
    value = float(match[1]) * (1000 if match[2] == "s" else 1) if match else 0.0
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 50ms, or 0.5s")
    return value


def main(argv: Sequence[str] | None = None, supervisor: Supervisor | None = None) -> int:
    """Run one command; return its exit code."""
    options = parser().parse_args(argv)
    # Workers and the control application have other users, and read what is written here.
    os.umask(0o022)
    try:
        host = _host(options, supervisor or Systemd())
        answer, text = _COMMANDS[options.command][0](host, options)
    except RefusedPlanError as error:
        return _refuse(error, as_json=options.json)
    except MMSError as error:
        return _fail(error, as_json=options.json)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fix = "check the path, its permissions (run it as root) and the free space."
        wrapped = MMSError(f"{place}{error.strerror or error}.", fix=fix)
        return _fail(wrapped, as_json=options.json, exit_code=4)
    except KeyboardInterrupt:
        sys.stderr.write("mms: interrupted; what was begun was put back.\n")
        return 130
    print(json.dumps(answer, indent=2, sort_keys=True) if options.json else text)
    return 0


def _host(options: argparse.Namespace, supervisor: Supervisor) -> Host:
    layout = Layout.under(options.layout_root)
    # A settings file that is to be checked must not need the host's to be good.
    wants_own = options.command != "settings" or options.file is None
    values = settings.read(layout.etc / settings.FILE_NAME) if wants_own else settings.Settings()
    return Host(layout, values, supervisor, who(), _report)


def who() -> str:
    """Return who runs the command, for the record."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _report(text: str) -> None:
    sys.stderr.write(f"mms: {text}\n")
    sys.stderr.flush()


def _refuse(error: RefusedPlanError, *, as_json: bool) -> int:
    """Show the plan all the same: what was refused should be seen."""
    answer, text = error.answer
    answer |= output.error_json(error.refusal)
    print(json.dumps(answer, indent=2, sort_keys=True) if as_json else text)
    sys.stderr.write(f"mms: error: {error}\n")
    return error.exit_code


def _fail(error: MMSError, *, as_json: bool, exit_code: int | None = None) -> int:
    if as_json:
        print(json.dumps(output.error_json(error), indent=2, sort_keys=True))
    sys.stderr.write(f"mms: error: {error}\n")
    return error.exit_code if exit_code is None else exit_code


if __name__ == "__main__":
    sys.exit(main())
