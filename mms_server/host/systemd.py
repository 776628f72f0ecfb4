"""The supervisor of the releases: systemd, by ``systemctl`` and ``journalctl`` with time limits."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from mms_server.core import process
from mms_server.core.errors import SupervisorError
from mms_server.core.paths import Layout
from mms_server.host import background_scope, systemctl_parser, unit_dropin
from mms_server.host.cpu_weight import CpuWeights
from mms_server.host.supervisor import UnitState, Usage

_TIMEOUT_S: Final = 60.0
# systemd ends a unit at its own limit; this margin is for a systemd that does not answer.
_MARGIN_S: Final = 30.0
_JOURNAL_LINES: Final = 20
# Each ended unit takes kilobytes of systemd's memory; unloading them takes a second or more.
_MAX_ENDED_UNITS: Final = 8
# `set-property` leaves files behind, which are in force already: a reload is not needed.
_RELOAD_HINT: Final = "Warning: The unit file"
_PROPERTIES: Final = ("MemoryCurrent", "ControlGroup", "NRestarts", "ActiveEnterTimestampMonotonic")
_MMS: Final = Path("/opt/mms/current/bin/mms")
_UNIT: Final = re.compile(r"mms@(?P<release>[A-Za-z0-9._-]+)\.(?P<kind>service|socket)")


def service_unit(release: str) -> str:
    """Return the name of a release's service unit."""
    return f"mms@{release}.service"


def socket_unit(release: str) -> str:
    """Return the name of a release's socket unit."""
    return f"mms@{release}.socket"


class Systemd:
    """The supervisor of a real host; ``cgroups`` is the mount point of the control groups."""

    def __init__(
        self,
        cgroups: Path = Path("/sys/fs/cgroup"),
        layout: Layout | None = None,
        properties: Path = Path("/run/systemd/system.control"),
    ) -> None:
        self._cgroups = cgroups
        self._layout = layout or Layout()
        self._cpu_weights = CpuWeights(self.systemctl, properties)

    def states(self, releases: Collection[str]) -> Mapping[str, UnitState]:
        """Return the states of these releases and of all others that systemd has loaded."""
        active: dict[str, dict[str, str]] = {release: {} for release in releases}
        command = ("list-units", "--all", "--full", "--output=json", "mms@*")
        for unit in systemctl_parser.parse_units(self.systemctl("mms@*", *command)):
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
        """Return the memory and the restarts of these releases, by one call of systemctl."""
        if not releases:
            return {}
        names = sorted(releases)
        units = [service_unit(release) for release in names]
        text = self.systemctl("mms@*", "show", f"--property={','.join(_PROPERTIES)}", *units)
        blocks = systemctl_parser.parse_show(text)
        if len(blocks) != len(names):
            raise SupervisorError("mms@*", f"show answered for {len(blocks)} of {len(names)}.")
        return dict(zip(names, map(self._usage, blocks), strict=True))

    def _usage(self, properties: Mapping[str, str]) -> Usage:
        memory = systemctl_parser.parse_number(properties.get("MemoryCurrent", ""))
        since_us = systemctl_parser.parse_number(
            properties.get("ActiveEnterTimestampMonotonic", "")
        )
        group = properties.get("ControlGroup", "")
        return Usage(
            memory,
            systemctl_parser.read_peak(self._cgroups / group.lstrip("/")) if group else None,
            since_us / 1e6 if since_us else None,
            systemctl_parser.parse_number(properties.get("NRestarts", "")) or 0,
        )

    def schedule_gc(self, release: str, after_s: float) -> None:
        """Run ``mms gc`` in ``after_s`` seconds, by a transient timer."""
        name = f"mms-retire-{release}"
        # A timer of this name may exist from an earlier change: replace it.
        self._run("stop", f"{name}.timer")
        command = ["systemd-run", "--quiet", "--no-ask-password", "--collect", f"--unit={name}"]
        command += [f"--on-active={after_s:.0f}s", "--timer-property=AccuracySec=1s"]
        command += [f"--property=CPUWeight={background_scope.CPU_WEIGHT}"]
        command += [f"--description=End release {release}, which is kept loaded for a rollback"]
        command += [str(_MMS), "gc"]
        try:
            done = process.run(command, _TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SupervisorError(name, f"systemd-run cannot be run: {error}.") from error
        if done.returncode:
            detail = " ".join(done.stderr.split())
            raise SupervisorError(name, f"systemd-run failed: {detail}")

    def configure(self, contents: Mapping[str, str]) -> None:
        """Write the drop-ins of releases, and let systemd read them.

        systemd takes a second or more to read all its units again, so it does so only if a loaded
        unit is out of date. A unit that is not loaded is read at its first use.

        Raises:
            OSError: a drop-in cannot be written.
        """
        for name, text in contents.items():
            unit_dropin.write(self._layout, name, text)
        if self._outdated(sorted(contents)):
            self.systemctl("mms@*", "daemon-reload")

    def _outdated(self, releases: Sequence[str]) -> bool:
        """Return whether systemd has loaded a unit without its drop-in, or with an older one."""
        if not releases:
            return False
        units = [service_unit(release) for release in releases]
        text = self.systemctl("mms@*", "show", "--property=NeedDaemonReload,DropInPaths", *units)
        blocks = systemctl_parser.parse_show(text)
        if len(blocks) != len(units):
            return True
        return any(
            properties.get("NeedDaemonReload") != "no"
            or str(self._layout.drop_in(release)) not in properties.get("DropInPaths", "").split()
            for release, properties in zip(releases, blocks, strict=True)
        )

    def configured(self) -> set[str]:
        """Return the releases that have a drop-in."""
        return unit_dropin.releases(self._layout)

    def forget(self, release: str) -> None:
        """Remove the drop-in of a removed release; systemd unloads its unit by itself.

        Raises:
            OSError: a file cannot be removed.
        """
        self._cpu_weights.forget(service_unit(release))
        unit_dropin.remove(self._layout, release)

    def unload_ended(self) -> None:
        """Let systemd read its units again if more than 8 ended releases are still loaded.

        A unit that was enabled stays loaded after its end: until systemd reads its units again, the
        target wants it.
        """
        states = self.states([])
        if sum(state.gone for state in states.values()) > _MAX_ENDED_UNITS:
            self.systemctl("mms@*", "daemon-reload")

    def open_socket(self, release: str) -> None:
        """Start the release's socket."""
        unit = socket_unit(release)
        self.systemctl(unit, "start", unit)

    def start(self, release: str, timeout_s: float) -> None:
        """Start the release's service; return when it is ready.

        Until :meth:`restore_cpu_weight` it has low CPU priority: loading a model keeps a CPU busy
        for seconds, and serving processes must not wait for it.
        """
        unit = service_unit(release)
        with self._cpu_weights.lowered(unit, timeout_s):
            self.systemctl(unit, "start", unit, timeout_s=timeout_s + _MARGIN_S)

    def restore_cpu_weight(self, release: str) -> None:
        """Give a release that was started the CPU weight in its unit files."""
        self._cpu_weights.restore(service_unit(release))

    def start_soon(self, release: str) -> None:
        """Request the start of socket and service, and do not wait for it."""
        unit = service_unit(release)
        self.systemctl(unit, "start", "--no-block", socket_unit(release), unit)

    def restart(self, release: str, timeout_s: float) -> None:
        """Restart the release's service; return when it is ready."""
        unit = service_unit(release)
        self.systemctl(unit, "restart", unit, timeout_s=timeout_s + _MARGIN_S)

    def stop(self, release: str, timeout_s: float) -> None:
        """Stop the service after its last request, then close the socket."""
        service, socket = service_unit(release), socket_unit(release)
        # One transaction of systemd: the service ends first, because it is ordered after its
        # socket, and no late connection can start it again in between.
        self.systemctl(service, "stop", service, socket, timeout_s=timeout_s + _MARGIN_S)
        # A failed unit stays loaded until it is reset. The command fails if no unit is loaded.
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
        """Return the last log lines of the release; it raises nothing."""
        return self._journal(service_unit(release))

    def _journal(self, unit: str) -> str:
        command = ["journalctl", "--no-pager", "--quiet", "--output=cat"]
        command += ["--lines", str(_JOURNAL_LINES), "--unit", unit]
        try:
            return process.run(command, _TIMEOUT_S).stdout.strip()
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"(the journal cannot be read: {error})"

    def _enabled(self, releases: Sequence[str]) -> dict[str, set[bool]]:
        if not releases:
            return {}
        units = [unit(release) for release in releases for unit in (service_unit, socket_unit)]
        # It exits non-zero if a unit is disabled. It prints one line for each unit, in order.
        lines = self._run("is-enabled", *units).stdout.split("\n")
        enabled = [line.strip() == "enabled" for line in lines[: len(units)]]
        if len(enabled) < len(units):
            cause = f"is-enabled answered for {len(enabled)} of {len(units)}."
            raise SupervisorError("mms@*", cause)
        return {release: set(enabled[2 * i : 2 * i + 2]) for i, release in enumerate(releases)}

    def systemctl(self, unit: str, *arguments: str, timeout_s: float = _TIMEOUT_S) -> str:
        """Run ``systemctl`` and return its output; errors name ``unit`` and have its journal.

        Raises:
            SupervisorError: the command failed, or did not end within ``timeout_s``.
        """
        done = self._run(*arguments, timeout_s=timeout_s)
        if done.returncode:
            lines = (line for line in done.stderr.splitlines() if not line.startswith(_RELOAD_HINT))
            detail = " ".join(" ".join(lines).split())
            cause = f"`systemctl {' '.join(arguments)}` failed: {detail}"
            raise SupervisorError(unit, cause, journal=self._journal(unit))
        return done.stdout

    def _run(
        self, *arguments: str, timeout_s: float = _TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        command = ["systemctl", "--no-ask-password", "--no-pager", *arguments]
        try:
            return process.run(command, timeout_s)
        except subprocess.TimeoutExpired as error:
            unit = arguments[-1]
            cause = f"`systemctl {' '.join(arguments)}` did not end within {timeout_s:.0f} s."
            raise SupervisorError(unit, cause, journal=self._journal(unit)) from error
        except OSError as error:
            cause = f"systemctl cannot be run: {error.strerror}."
            fix = "run it on a host with systemd."
            raise SupervisorError(arguments[-1], cause, fix=fix) from error
