"""What runs the releases: systemd, asked by ``systemctl`` and ``journalctl`` with time limits."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mms_server.core import process
from mms_server.core.errors import SupervisorError
from mms_server.core.paths import Layout
from mms_server.host import background_scope, systemctl_parser, unit_dropin
from mms_server.host.cpu_weight import CpuWeights

_ASK_TIMEOUT_S: Final = 60.0
# systemd ends a unit at its own limit; this is for a systemd that does not answer.
_MARGIN_S: Final = 30.0
_JOURNAL_LINES: Final = 20
# Each holds some kilobytes of systemd's memory; to forget them keeps it busy for a second or more.
_ENDED_AND_LOADED: Final = 8
# Properties that were set leave files behind, which are in force already.
_RELOAD_HINT: Final = "Warning: The unit file"
_SHOWN: Final = ("MemoryCurrent", "ControlGroup", "NRestarts", "ActiveEnterTimestampMonotonic")
_MMS: Final = Path("/opt/mms/current/bin/mms")
_UNIT: Final = re.compile(r"mms@(?P<release>[A-Za-z0-9._-]+)\.(?P<kind>service|socket)")


@dataclass(frozen=True)
class UnitState:
    """A release's two units, in systemd's words (``active``, ``activating``, ``failed`` ...).

    ``enabled`` is whether both start at boot, ``half_enabled`` whether one of them does.
    """

    service: str = "inactive"
    socket: str = "inactive"
    enabled: bool = False
    half_enabled: bool = False

    @property
    def up(self) -> bool:
        """Return whether the release serves."""
        return (self.service, self.socket) == ("active", "active")

    @property
    def gone(self) -> bool:
        """Return whether nothing is left of the release."""
        down = (self.service, self.socket) == ("inactive", "inactive")
        return down and not self.boots

    @property
    def boots(self) -> bool:
        """Return whether a boot would start anything of it."""
        return self.enabled or self.half_enabled


@dataclass(frozen=True)
class Usage:
    """What a release's control group uses and how it went; None is what is not known.

    ``active_since_s`` is the host's uptime, in seconds, at which the service got ready, and
    ``restarts`` how often systemd has started it again by itself.
    """

    memory_bytes: int | None = None
    peak_bytes: int | None = None
    active_since_s: float | None = None
    restarts: int = 0


class Supervisor(Protocol):
    """Starts and stops releases. All methods raise :class:`SupervisorError` and end in time."""

    def states(self, releases: Collection[str]) -> Mapping[str, UnitState]:
        """Return the state of these releases and of all others that are loaded."""

    def usage(self, releases: Collection[str]) -> Mapping[str, Usage]:
        """Return what these releases use."""

    def collect_later(self, release: str, after_s: float) -> None:
        """Run ``mms gc`` in so many seconds, when a release is not to be kept any longer."""

    def configure(self, contents: Mapping[str, str]) -> None:
        """Give releases, by id, the drop-ins of these contents."""

    def configured(self) -> set[str]:
        """Return the releases that have a drop-in."""

    def forget(self, release: str) -> None:
        """Remove the drop-in of a release that is gone."""

    def unload_ended(self) -> None:
        """Let the supervisor forget the releases that have ended, when they are many."""

    def open_socket(self, release: str) -> None:
        """Start the release's socket."""

    def start(self, release: str, timeout_s: float) -> None:
        """Start the release's service, with little of the processor; return when it is ready."""

    def restore_cpu_weight(self, release: str) -> None:
        """Give a release that was started its whole share of the processor."""

    def start_soon(self, release: str) -> None:
        """Ask for socket and service to be started, and do not wait."""

    def restart(self, release: str, timeout_s: float) -> None:
        """Restart the release's service; return when it is ready."""

    def stop(self, release: str, timeout_s: float) -> None:
        """Stop the service, after its last request, then close the socket."""

    def enable(self, release: str) -> None:
        """Let the release start at boot."""

    def disable(self, release: str) -> None:
        """Let the release not start at boot."""

    def journal(self, release: str) -> str:
        """Return the last lines that the release logged; never raises."""


def service_unit(release: str) -> str:
    """Return the name of the unit that runs a release."""
    return f"mms@{release}.service"


def socket_unit(release: str) -> str:
    """Return the name of the unit that holds a release's socket."""
    return f"mms@{release}.socket"


class Systemd:
    """The supervisor of a real host; ``cgroups`` is where control groups are mounted."""

    def __init__(
        self,
        cgroups: Path = Path("/sys/fs/cgroup"),
        layout: Layout | None = None,
        properties: Path = Path("/run/systemd/system.control"),
    ) -> None:
        self._cgroups = cgroups
        self._layout = layout or Layout()
        self._share = CpuWeights(self.systemctl, properties)

    def states(self, releases: Collection[str]) -> Mapping[str, UnitState]:
        """Return the state of these releases and of all others that systemd has loaded."""
        active: dict[str, dict[str, str]] = {release: {} for release in releases}
        command = ("list-units", "--all", "--full", "--output=json", "mms@*")
        for unit in systemctl_parser.rows(self.systemctl("mms@*", *command)):
            found = _UNIT.fullmatch(str(unit.get("unit")))
            if found:
                active.setdefault(found["release"], {})[found["kind"]] = str(unit.get("active"))
        enabled = self._enabled(list(active))
        return {
            release: UnitState(
                kinds.get("service", "inactive"),
                kinds.get("socket", "inactive"),
                enabled[release] == {True},
                True in enabled[release],
            )
            for release, kinds in active.items()
        }

    def usage(self, releases: Collection[str]) -> Mapping[str, Usage]:
        """Return what these releases use: one question for all."""
        if not releases:
            return {}
        names = sorted(releases)
        units = [service_unit(release) for release in names]
        text = self.systemctl("mms@*", "show", f"--property={','.join(_SHOWN)}", *units)
        blocks = systemctl_parser.blocks(text)
        if len(blocks) != len(names):
            raise SupervisorError("mms@*", f"show answered for {len(blocks)} of {len(names)}.")
        return dict(zip(names, map(self._usage, blocks), strict=True))

    def _usage(self, shown: Mapping[str, str]) -> Usage:
        memory = systemctl_parser.number(shown.get("MemoryCurrent", ""))
        since = systemctl_parser.number(shown.get("ActiveEnterTimestampMonotonic", ""))
        group = shown.get("ControlGroup", "")
        return Usage(
            memory,
            systemctl_parser.peak(self._cgroups / group.lstrip("/")) if group else None,
            since / 1e6 if since else None,
            systemctl_parser.number(shown.get("NRestarts", "")) or 0,
        )

    def collect_later(self, release: str, after_s: float) -> None:
        """Run ``mms gc`` in so many seconds, by a transient timer."""
        name = f"mms-retire-{release}"
        # It may be there from an earlier time; then it is asked for anew.
        self._run("stop", f"{name}.timer")
        command = ["systemd-run", "--quiet", "--no-ask-password", "--collect", f"--unit={name}"]
        command += [f"--on-active={after_s:.0f}s", "--timer-property=AccuracySec=1s"]
        command += [f"--property=CPUWeight={background_scope.WEIGHT}"]
        command += [f"--description=End release {release}, which is kept loaded for a rollback"]
        command += [str(_MMS), "gc"]
        try:
            done = process.run(command, _ASK_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SupervisorError(name, f"systemd-run cannot be run: {error}.") from error
        if done.returncode:
            detail = " ".join(done.stderr.split())
            raise SupervisorError(name, f"systemd-run failed: {detail}")

    def configure(self, contents: Mapping[str, str]) -> None:
        """Give releases, by id, the drop-ins of these contents, and let systemd know them.

        systemd reads all its units again only if it must, and takes a second or more for it: a
        unit that it does not know yet is read when it is first asked for.

        Raises:
            OSError: one cannot be written.
        """
        for name, text in contents.items():
            unit_dropin.write(self._layout, name, text)
        if self._outdated(sorted(contents)):
            self.systemctl("mms@*", "daemon-reload")

    def _outdated(self, releases: Sequence[str]) -> bool:
        """Return whether systemd knows a unit as it was before its drop-in was written."""
        if not releases:
            return False
        units = [service_unit(release) for release in releases]
        text = self.systemctl("mms@*", "show", "--property=NeedDaemonReload,DropInPaths", *units)
        known = systemctl_parser.blocks(text)
        if len(known) != len(units):
            return True
        for release, block in zip(releases, known, strict=True):
            paths = block.get("DropInPaths", "").split()
            if (
                block.get("NeedDaemonReload") != "no"
                or str(self._layout.drop_in(release)) not in paths
            ):
                return True
        return False

    def configured(self) -> set[str]:
        """Return the releases that have a drop-in."""
        return unit_dropin.releases(self._layout)

    def forget(self, release: str) -> None:
        """Remove the drop-in of a release that is gone; a unit that is not loaded needs no more.

        Raises:
            OSError: it cannot be removed.
        """
        self._share.forget(service_unit(release))
        unit_dropin.remove(self._layout, release)

    def unload_ended(self) -> None:
        """Let systemd read its units again when it still knows many releases that have ended.

        A unit that was enabled stays loaded after its end, because the target that wanted it does
        so until then.
        """
        states = self.states([])
        if sum(state.gone for state in states.values()) > _ENDED_AND_LOADED:
            self.systemctl("mms@*", "daemon-reload")

    def open_socket(self, release: str) -> None:
        """Start the release's socket."""
        unit = socket_unit(release)
        self.systemctl(unit, "start", unit)

    def start(self, release: str, timeout_s: float) -> None:
        """Start the release's service; return when it is ready.

        Until :meth:`restore_cpu_weight` it has what others leave of the processor: to load a model
        keeps one busy for seconds, and what serves must not wait for that.
        """
        unit = service_unit(release)
        with self._share.lowered(unit, timeout_s):
            self.systemctl(unit, "start", unit, timeout_s=timeout_s + _MARGIN_S)

    def restore_cpu_weight(self, release: str) -> None:
        """Give a release that was started the share of the processor that its unit names."""
        self._share.restore(service_unit(release))

    def start_soon(self, release: str) -> None:
        """Ask for socket and service to be started, and do not wait."""
        unit = service_unit(release)
        self.systemctl(unit, "start", "--no-block", socket_unit(release), unit)

    def restart(self, release: str, timeout_s: float) -> None:
        """Restart the release's service; return when it is ready."""
        unit = service_unit(release)
        self.systemctl(unit, "restart", unit, timeout_s=timeout_s + _MARGIN_S)

    def stop(self, release: str, timeout_s: float) -> None:
        """Stop the service, after its last request, then close the socket."""
        service, socket = service_unit(release), socket_unit(release)
        # One transaction: the service ends first (it is ordered after its socket), and no late
        # connection can start it again in between.
        self.systemctl(service, "stop", service, socket, timeout_s=timeout_s + _MARGIN_S)
        # A failed unit stays loaded until it is forgotten; one that is not loaded cannot be.
        self._run("reset-failed", service, socket)

    def enable(self, release: str) -> None:
        """Let the release start at boot."""
        unit = service_unit(release)
        self.systemctl(unit, "enable", "--quiet", "--no-reload", socket_unit(release), unit)

    def disable(self, release: str) -> None:
        """Let the release not start at boot."""
        unit = service_unit(release)
        self.systemctl(unit, "disable", "--quiet", "--no-reload", socket_unit(release), unit)

    def journal(self, release: str) -> str:
        """Return the last lines that the release logged; never raises."""
        return self._journal(service_unit(release))

    def _journal(self, unit: str) -> str:
        command = ["journalctl", "--no-pager", "--quiet", "--output=cat"]
        command += ["--lines", str(_JOURNAL_LINES), "--unit", unit]
        try:
            return process.run(command, _ASK_TIMEOUT_S).stdout.strip()
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"(the journal cannot be read: {error})"

    def _enabled(self, releases: Sequence[str]) -> dict[str, set[bool]]:
        if not releases:
            return {}
        units = [unit(release) for release in releases for unit in (service_unit, socket_unit)]
        # It exits non-zero when a unit is disabled; the answer is one line a unit, in order.
        lines = self._run("is-enabled", *units).stdout.split("\n")
        found = [line.strip() == "enabled" for line in lines[: len(units)]]
        if len(found) < len(units):
            raise SupervisorError("mms@*", f"is-enabled answered for {len(found)} of {len(units)}.")
        return {release: set(found[2 * i : 2 * i + 2]) for i, release in enumerate(releases)}

    def systemctl(self, unit: str, *words: str, timeout_s: float = _ASK_TIMEOUT_S) -> str:
        """Run ``systemctl`` and return what it printed; ``unit`` is what it is about.

        Raises:
            SupervisorError: it failed, or did not end in time.
        """
        done = self._run(*words, timeout_s=timeout_s)
        if done.returncode:
            said = (line for line in done.stderr.splitlines() if not line.startswith(_RELOAD_HINT))
            detail = " ".join(" ".join(said).split())
            cause = f"`systemctl {' '.join(words)}` failed: {detail}"
            raise SupervisorError(unit, cause, journal=self._journal(unit))
        return done.stdout

    def _run(
        self, *words: str, timeout_s: float = _ASK_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        command = ["systemctl", "--no-ask-password", "--no-pager", *words]
        try:
            return process.run(command, timeout_s)
        except subprocess.TimeoutExpired as error:
            unit = words[-1]
            cause = f"`systemctl {' '.join(words)}` did not end within {timeout_s:.0f} s."
            raise SupervisorError(unit, cause, journal=self._journal(unit)) from error
        except OSError as error:
            cause = f"systemctl cannot be run: {error.strerror}."
            raise SupervisorError(words[-1], cause, fix="run it on a host with systemd.") from error
