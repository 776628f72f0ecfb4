"""``mms-fleet``: what the hosts of a fleet share, seen and changed from one of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mms_server.cli import output
from mms_server.cli.main import who
from mms_server.config import mms_conf as parser_of_conf
from mms_server.config import settings
from mms_server.core.errors import MMSError
from mms_server.core.formatting import table
from mms_server.core.paths import Layout
from mms_server.deploy import apply as engine
from mms_server.deploy import nginx_config as edges
from mms_server.deploy.host_context import Host
from mms_server.fleet import audit_log, lease, publication
from mms_server.fleet import reconcile as healing
from mms_server.fleet.lease import Claim, FleetBusyError
from mms_server.fleet.shared_paths import Share
from mms_server.host.lock import locked
from mms_server.host.systemd import Supervisor, Systemd

DEFAULT_SHARE: Final = Path("/efs/models")
_LOCK_WAIT_S: Final = 60.0
_SHOWN: Final = 20
_EXIT_CODES: Final = "exit codes: 0 done or nothing to do, 2 bad input, 3 refused, 4 failed"

Answer = tuple[dict[str, Any], str]


def state(host: Host, share: Share, _options: argparse.Namespace) -> Answer:
    """Show who changes the fleet, what is published, and whether hosts may change by themselves."""
    holder = lease.held(share, host.now())
    answer = {
        "lease": asdict(holder) if holder else None,
        "held": healing.hold_of(share),
        "current": publication.linked(share.current),
        "approved": publication.linked(share.approved),
        "publications": publication.numbers(share),
        "host": healing.marked(host.layout),
    }
    rows = [
        ("changed by", str(holder or "nobody now")),
        ("held", str(answer["held"] or "no")),
        ("current", str(answer["current"])),
        ("approved", str(answer["approved"])),
        ("this host", str(answer["host"])),
        ("kept", ", ".join(map(str, publication.numbers(share))) or "none"),
    ]
    return answer, table(rows)


def begin(host: Host, share: Share, options: argparse.Namespace) -> Answer:
    """Take the lease of the fleet for a run, or be told who has it."""
    claim = Claim(options.run, options.owner, options.controller, options.process, options.purpose)
    taken = lease.take(share, claim, host.now(), options.valid_s, options.replaces)
    return asdict(taken), f"The lease ends at {taken.expires_at}."


def renew(host: Host, share: Share, options: argparse.Namespace) -> Answer:
    """Let the lease of a run end later."""
    taken = lease.renew(share, options.run, host.now(), options.valid_s)
    return asdict(taken), f"The lease ends at {taken.expires_at}."


def publish(host: Host, share: Share, options: argparse.Namespace) -> Answer:
    """Put new contents under the names of the share; reads {conf, places} in JSON."""
    wanted = _input()
    conf_digest, places = str(wanted["conf"]), dict(wanted["places"])
    if options.check:
        changed = publication.plan(share, {**places, share.conf.name: conf_digest})
        done = {"changed": bool(changed), "places": changed, "number": None}
        return done, f"Would change: {', '.join(changed) or 'nothing'}."
    lease.renew(share, options.run, host.now(), options.valid_s)
    outcome = publication.publish(share, conf_digest, places, options.by, host.now())
    answer = {
        "changed": bool(outcome.changed) or outcome.made,
        "places": list(outcome.changed),
        "number": outcome.number,
        "approved": publication.linked(share.approved),
    }
    return answer, f"Publication {outcome.number} is on the share."


def restore(host: Host, share: Share, options: argparse.Namespace) -> Answer:
    """Put a publication back under the names of the share, by default the approved one."""
    number, why = options.to, ""
    if number is None and options.earlier:
        found = publication.earlier(share)
        number, why = found.number, found.why
    elif number is None:
        number = publication.linked(share.approved)
    if number is None:
        fix = "publish what is wanted with playbooks/update_models.yml."
        raise MMSError("there is no publication to go back to.", fix=fix)
    wanted = publication.load(share, number)
    if options.check:
        changed = tuple(publication.differences(share, wanted))
    else:
        lease.renew(share, options.run, host.now(), options.valid_s)
        changed = publication.switch(share, wanted)
    answer = {"changed": bool(changed), "places": list(changed), "number": number, "why": why}
    return answer, f"Publication {number} is on the share{f': {why}' if why else ''}."


def end(host: Host, share: Share, options: argparse.Namespace) -> Answer:
    """End a run: write the journal, approve what it brought, give the lease back."""
    lease.renew(share, options.run, host.now(), options.valid_s)
    current = publication.linked(share.current)
    changed = False
    if options.approve and current is not None:
        changed = publication.linked(share.approved) != current
        publication.approve(share, current)
        publication.prune(share)
    record = _input()
    if record:
        at = host.now().isoformat(timespec="seconds")
        audit_log.append(share.journal, {"at": at, "run": options.run, **record})
    lease.give_back(share, options.run)
    return {"changed": changed, "approved": publication.linked(share.approved)}, "Ended."


def note(host: Host, _share: Share, options: argparse.Namespace) -> Answer:
    """Write down on this host what a run did to it; reads the record in JSON."""
    record = _input()
    if record:
        at = host.now().isoformat(timespec="seconds")
        audit_log.append(host.layout.journal, {"at": at, **record})
    changed = options.number is not None and healing.mark(host.layout, options.number)
    return {"changed": changed}, "Written down."


def show_journal(_host: Host, share: Share, options: argparse.Namespace) -> Answer:
    """Show the newest records of the journal."""
    records = audit_log.read(share.journal, options.last)
    keys = ("at", "who", "what", "result", "summary")
    rows = [tuple(_first_line(each.get(key)) for key in keys) for each in records]
    return {"records": records}, table([tuple(key.upper() for key in keys), *rows])


def _first_line(value: object) -> str:
    return next(iter(str(value or "").splitlines()), "")


def hold(_host: Host, share: Share, options: argparse.Namespace) -> Answer:
    """Let no host change by itself until `resume`."""
    changed = healing.hold_of(share) != options.reason.strip()
    healing.hold(share, options.reason)
    return {"changed": changed}, "No host changes by itself now; `mms-fleet resume` ends this."


def resume(_host: Host, share: Share, _options: argparse.Namespace) -> Answer:
    """Let hosts change by themselves again."""
    return {"changed": healing.resume(share)}, "Hosts change by themselves."


def heal(host: Host, share: Share, options: argparse.Namespace) -> Answer:
    """Bring this host to what the fleet serves, unless it was brought there already."""
    judged = healing.judge(share, host.layout, host.now())
    if judged.number is None or options.check:
        return {"changed": judged.number is not None, "why": judged.why}, judged.why
    host.report(judged.why)
    parsed = parser_of_conf.read(share.conf)
    edges.check(host.layout, parsed, os.environ, host.proxy)
    outcome = engine.apply(host, share.conf)
    with locked(host.layout, "mms-fleet heal", host.now(), wait_s=_LOCK_WAIT_S):
        edges.install(host.layout, parsed, os.environ, host.proxy)
    healing.mark(host.layout, judged.number)
    at = host.now().isoformat(timespec="seconds")
    record = {"at": at, "what": "heal", "publication": judged.number, "result": "done"}
    audit_log.append(host.layout.journal, record)
    answer = {**output.outcome_json(outcome), "why": judged.why}
    return answer, f"{judged.why}\n{output.outcome_text(outcome, done=True)}"


_Command = Callable[[Host, Share, argparse.Namespace], Answer]
_COMMANDS: Final[dict[str, tuple[_Command, str]]] = {
    "state": (state, "mms-fleet state --json"),
    "begin": (
        begin,
        "mms-fleet begin --run 1 --owner me --controller c --process 7 --purpose test",
    ),
    "renew": (renew, "mms-fleet renew --run 1 --valid-s 600"),
    "publish": (publish, "mms-fleet publish --run 1 --by me < places.json"),
    "restore": (restore, "mms-fleet restore --run 1 --to 12"),
    "end": (end, "mms-fleet end --run 1 --approve < record.json"),
    "note": (note, "mms-fleet note --number 12 < record.json"),
    "journal": (show_journal, "mms-fleet journal --last 5"),
    "hold": (hold, "mms-fleet hold --reason 'hosts are being moved'"),
    "resume": (resume, "mms-fleet resume"),
    "heal": (heal, "mms-fleet heal --check"),
}


_NUMBER: Final = {"type": int, "metavar": "N"}
_TOLD: Final = {"required": True, "help": "for those who are refused"}
_OPTIONS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "begin": {
        **{f"--{word}": _TOLD for word in ("owner", "controller", "process", "purpose")},
        "--replaces": {"default": "", "metavar": "RUN", "help": "a run that is dead"},
    },
    "publish": {"--by": {"default": who(), "help": "who publishes (default: %(default)s)"}},
    "restore": {
        "--to": {**_NUMBER, "help": "number of the publication"},
        "--earlier": {"action": "store_true", "help": "the one that undoes the last change"},
    },
    "end": {"--approve": {"action": "store_true", "help": "the fleet serves what is published"}},
    "note": {"--number": {**_NUMBER, "help": "the publication that this host was brought to"}},
    "journal": {"--last": {"type": int, "default": _SHOWN, "metavar": "COUNT"}},
    "hold": {"--reason": {"required": True, "help": "why, for those who wonder"}},
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    about = "See and change what the hosts of a fleet share. The playbooks call it."
    top = argparse.ArgumentParser(prog="mms-fleet", description=about, epilog=_EXIT_CODES)
    top.add_argument("--layout-root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    commands = top.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, (act, example) in _COMMANDS.items():
        text = act.__doc__ or ""
        sub = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example: {example}\n{_EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        text = "the shared directory (default: %(default)s)"
        sub.add_argument("--share", type=Path, default=DEFAULT_SHARE, help=text)
        _add_options(sub, name)
    return top


def _add_options(sub: argparse.ArgumentParser, name: str) -> None:
    if name in ("begin", "renew", "publish", "restore", "end"):
        sub.add_argument("--run", default="", help="name of the run")
        text = "seconds until the lease ends (default: %(default)s)"
        sub.add_argument("--valid-s", type=float, default=600.0, metavar="S", help=text)
    if name in ("publish", "restore", "heal"):
        sub.add_argument("--check", action="store_true", help="only show what would be done")
    for flag, details in _OPTIONS.get(name, {}).items():
        sub.add_argument(flag, **details)


def main(argv: Sequence[str] | None = None, supervisor: Supervisor | None = None) -> int:
    """Run one command; return its exit code."""
    options = parser().parse_args(argv)
    os.umask(0o022)
    try:
        layout = Layout.under(options.layout_root)
        values = settings.read(layout.etc / settings.FILE_NAME)
        host = Host(layout, values, supervisor or Systemd(), who(), _report, now=_now)
        answer, text = _COMMANDS[options.command][0](host, Share(options.share), options)
    except MMSError as error:
        return _fail(error, options)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fix = "check the path, its permissions (run it as root) and the free space."
        return _fail(MMSError(f"{place}{error.strerror or error}.", fix=fix), options, 4)
    print(json.dumps(answer, indent=2, sort_keys=True) if options.json else text)
    return 0


def _now() -> datetime:
    return datetime.now(UTC)


def _input() -> dict[str, Any]:
    """Return the object that stands on standard input, empty if nothing does.

    Raises:
        MMSError: it is no object of JSON.
    """
    text = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        fix = "give one object."
        raise MMSError(f"standard input is no JSON: {error}.", fix=fix) from error
    if not isinstance(value, dict):
        raise MMSError("standard input is no object of JSON.", fix="give one object.")
    return value


def _report(text: str) -> None:
    sys.stderr.write(f"mms-fleet: {text}\n")
    sys.stderr.flush()


def _fail(error: MMSError, options: argparse.Namespace, exit_code: int | None = None) -> int:
    if options.json:
        answer = output.error_json(error)
        if isinstance(error, FleetBusyError):
            answer["holder"] = asdict(error.holder)
        print(json.dumps(answer, indent=2, sort_keys=True))
    sys.stderr.write(f"mms-fleet: error: {error}\n")
    return error.exit_code if exit_code is None else exit_code


if __name__ == "__main__":
    sys.exit(main())
