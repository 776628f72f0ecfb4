"""A host in a directory: real files and links, a supervisor in memory, and a way to be killed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mms_server import generations, links, unit_file, warm
from mms_server.errors import ProbeError, SupervisorError
from mms_server.host import Host
from mms_server.host_usage import HostMemory
from mms_server.layout import Layout
from mms_server.release import Release
from mms_server.settings import Settings
from mms_server.supervisor import UnitState, Usage

MIB = 1024 * 1024

_SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, 3]}],
    "input_type": "application/json",
    "outputs": [{"data_name": "out", "data_shape": [0, 3]}],
    "output_type": "application/json",
}
_MANIFEST = {
    "Engine": {"MXNet": "1.9.1"},
    "Model-Archive-Version": 0.2,
    "Model-Server": 0.4,
    "Model": {
        "Model-Name": "tiny",
        "Model-Format": "MXNet-Symbolic",
        "Service": "service.py",
        "Signature": "signature.json",
        "Symbol": "tiny-symbol.json",
        "Parameters": "tiny-0000.params",
    },
}


class Killed(BaseException):
    """Stands for kill -9: nothing that catches errors may catch it."""


def write_archive(path: Path, weights: str) -> Path:
    """Write a sound archive; other ``weights``, other content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    members = {
        "MANIFEST.json": json.dumps(_MANIFEST),
        "signature.json": json.dumps(_SIGNATURE),
        "service.py": "",
        "tiny-symbol.json": "{}",
        "tiny-0000.params": weights,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            # A fixed time: equal content is to be equal bytes, whenever it is written.
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


class Clockwork:
    """Counts what happens; raises :class:`Killed` at the chosen count."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.kill_at: int | None = None

    def tick(self, event: str) -> None:
        self.events.append(event)
        if self.kill_at is not None and len(self.events) > self.kill_at:
            raise Killed(event)


class FakeSupervisor:
    """systemd's part, in memory.

    ``broken`` models and releases never get ready, ``unstoppable`` releases stay.
    ``memory`` is what a model or release uses once it is loaded, in bytes (otherwise 1 MiB), and
    ``most`` what all used at one time; ``scheduled`` are the timers of `mms gc`.
    """

    def __init__(self, layout: Layout, clockwork: Clockwork) -> None:
        self._layout = layout
        self._clockwork = clockwork
        self.units: dict[str, UnitState] = {}
        self.broken: set[str] = set()
        self.memory: dict[str, int] = {}
        self.most = 0
        self.words = ""
        self.scheduled: dict[str, float] = {}
        self.unstoppable: set[str] = set()
        self.slow: set[str] = set()
        self.unloaded = 0
        self.acts: list[str] = []

    def states(self, releases: Collection[str]) -> Mapping[str, UnitState]:
        return {**dict.fromkeys(releases, UnitState()), **self.units}

    def configure(self, contents: Mapping[str, str]) -> None:
        for release, content in contents.items():
            self._clockwork.tick(f"before configure {release}")
            unit_file.write(self._layout, release, content)
        self._clockwork.tick("after configure")

    def configured(self) -> set[str]:
        return unit_file.releases(self._layout)

    def forget(self, release: str) -> None:
        self._clockwork.tick(f"before forget {release}")
        unit_file.remove(self._layout, release)

    def unload_ended(self) -> None:
        self.unloaded += 1

    def usage(self, releases: Collection[str]) -> Mapping[str, Usage]:
        return {name: Usage(self.used(name) or None) for name in releases}

    def used(self, release: str) -> int:
        loaded = self.units.get(release, UnitState()).service == "active"
        used = self.memory.get(release, self.memory.get(release.rpartition(".")[0], MIB))
        return used if loaded else 0

    def collect_later(self, release: str, after_s: float) -> None:
        self._clockwork.tick(f"before schedule {release}")
        self.scheduled[release] = after_s
        self._clockwork.tick(f"after schedule {release}")

    def open_socket(self, release: str) -> None:
        self._set("open", release, socket="active")

    def start(self, release: str, timeout_s: float) -> None:
        self.slow.add(release)
        self._run("start", release)

    def give_processor(self, release: str) -> None:
        self._clockwork.tick(f"before giving {release} the processor")
        self.slow.discard(release)

    def start_soon(self, release: str) -> None:
        self._set("start_soon", release, socket="active", service="active")

    def restart(self, release: str, timeout_s: float) -> None:
        self._run("restart", release)

    def stop(self, release: str, timeout_s: float) -> None:
        if release in self.unstoppable:
            raise SupervisorError(f"mms@{release}.service", "it cannot be stopped.")
        self._set("stop", release, socket="inactive", service="inactive")

    def enable(self, release: str) -> None:
        self._set("enable", release, enabled=True)

    def disable(self, release: str) -> None:
        self._set("disable", release, enabled=False, half_enabled=False)

    def journal(self, release: str) -> str:
        return self.words or f"last words of {release}"

    def _run(self, act: str, release: str) -> None:
        described = Release.from_json(self._layout.release_file(release).read_text())
        assert self.units[release].socket == "active", "a service needs its socket"
        for part in described.parts.values():
            assert part.archive_sha256 in self._layout.drop_in(release).read_text()
            assert (self._layout.store / part.archive_sha256 / "MANIFEST.json").is_file()
        hold = self._layout.hold_file(release)
        assert not hold.exists(), "a release that is held does not get ready"
        if self.broken & {described.model, release, *described.parts}:
            self._set(act, release, service="activating")
            unit = f"mms@{release}.service"
            raise SupervisorError(unit, "it failed.", journal=self.journal(release))
        self._set(act, release, service="active")
        self.most = max(self.most, sum(map(self.used, self.units)))

    def _set(self, act: str, release: str, **facts: str | bool) -> None:
        self._clockwork.tick(f"before {act} {release}")
        self.acts.append(f"{act} {release}")
        self.units[release] = replace(self.units.get(release, UnitState()), **facts)  # type: ignore[arg-type]
        self._clockwork.tick(f"after {act} {release}")


FRAME = """\
events {}
http {
    server {
        listen @router_listen@;
    }
# mms edge: begin
    server {
        listen 80;
    }
# mms edge: end
}
"""


class FakeNginx:
    """nginx's part: refuses a file that has the word ``bad``, at its line."""

    def __init__(self, clockwork: Clockwork, closing: Path) -> None:
        self._clockwork = clockwork
        self.closing = closing
        self.stubborn = 0
        self.waited_s = 0.0
        self.running = False
        self.refuses_reload = False
        self.acts: list[str] = []

    def complaint(self, file: Path) -> str:
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if "bad" in line:
                return f'nginx: [emerg] unknown directive "bad" in {file}:{number}\n'
        return ""

    def pid(self) -> int:
        return 4711 if self.running else 0

    def start(self) -> None:
        self._act("start", running=True)

    def reload(self) -> None:
        self._act("reload", running=True)
        if self.refuses_reload:
            raise SupervisorError("nginx.service", "bind() failed.")

    def let_go(self, limit_s: float) -> int:
        self.waited_s = limit_s
        assert self.closing.exists(), "nginx is to be told before"
        return self.stubborn

    def stop(self) -> None:
        self._act("stop", running=False)

    def _act(self, act: str, *, running: bool) -> None:
        self._clockwork.tick(f"before {act} nginx")
        self.acts.append(act)
        self.running = running
        self._clockwork.tick(f"after {act} nginx")


class FakeHost:
    """One host; :meth:`write_conf` names models and their archives' content."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout.under(root)
        self.clockwork = Clockwork()
        self.supervisor = FakeSupervisor(self.layout, self.clockwork)
        self.proxy = FakeNginx(self.clockwork, self.layout.run / "edge.closing")
        self.mute: set[str] = set()
        self.reports: list[str] = []
        runtime = root / "opt/mms/releases/1"
        runtime.mkdir(parents=True)
        self.settings = Settings(
            workers=1, runtime=str(runtime), keep_generations=2, keep_warm_s=0, memory_reserve=0
        )
        self.uptime_s = 1000.0
        self.memory_bytes = 64 * 1024 * MIB

    @property
    def host(self) -> Host:
        return Host(
            self.layout,
            self.settings,
            self.supervisor,
            by="tester",
            report=self._report,
            probe=self._probe,
            now=lambda: datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
            proxy=self.proxy,
            uptime=lambda: self.uptime_s,
            memory=self._memory,
        )

    def _memory(self) -> HostMemory:
        used = sum(map(self.supervisor.used, self.supervisor.units))
        return HostMemory(self.memory_bytes, self.memory_bytes - used)

    def write_frame(self, frame: str = FRAME) -> None:
        """Write what the role nginx_proxy writes."""
        for directory in (self.layout.etc, self.layout.nginx, self.layout.run):
            directory.mkdir(parents=True, exist_ok=True)
        (self.layout.etc / "nginx.conf.frame").write_text(frame)

    def write_conf(self, models: Mapping[str, str], rest: str = "") -> Path:
        for name, weights in models.items():
            write_archive(self.root / f"efs/{name}.model", weights)
        pairs = " ".join(f"{name}={name}.model" for name in models)
        conf = self.root / "efs/mms.conf"
        conf.parent.mkdir(parents=True, exist_ok=True)
        conf.write_text(f"[MMS Arguments]\n--models\n{pairs}\n{rest}")
        return conf

    def served(self) -> dict[str, str]:
        """Return model -> weights, as a client would meet them."""
        return {
            model: self._weights(model, release)
            for model, release in links.read(self.layout).items()
            if self.supervisor.units.get(release, UnitState()).up
        }

    def serving(self) -> list[str]:
        """Return the releases that are up."""
        return sorted(name for name, state in self.supervisor.units.items() if state.up)

    def check_links(self) -> None:
        """Assert that every live link points at a release that is ready."""
        for model, release in links.read(self.layout).items():
            state = self.supervisor.units.get(release, UnitState())
            assert state.up, f"{model} -> {release}, which is {state}"

    def check_settled(self, models: Mapping[str, str]) -> None:
        """Assert that the host serves these models, and that nothing else is left on it."""
        generation = generations.newest(self.layout)
        assert generation is not None
        assert self.served() == dict(models)
        live, kept_warm = set(generation.models.values()), set(warm.read(self.layout))
        assert self.serving() == sorted(live | kept_warm)
        assert not self.supervisor.slow & set(generation.models.values())
        left = {name for name, state in self.supervisor.units.items() if not state.gone}
        assert left == live | kept_warm
        assert all(self.supervisor.units[name].enabled == (name in live) for name in left)
        assert not live & kept_warm
        assert kept_warm <= set(self.supervisor.scheduled), "something must end it"
        assert not list(self.layout.instances.glob("*/hold"))
        kept = kept_warm | {
            name
            for number in generations.numbers(self.layout)
            for name in generations.load(self.layout, number).models.values()
        }
        assert {path.name for path in self.layout.releases.iterdir()} == kept
        assert self.supervisor.configured() == kept
        texts = [self.layout.release_file(name).read_text() for name in kept]
        entries = {entry for text in texts for entry in Release.from_json(text).entries}
        assert {path.name for path in self.layout.store.iterdir()} == entries

    def _weights(self, model: str, release: str) -> str:
        described = Release.from_json(self.layout.release_file(release).read_text())
        digest = described.parts[model].archive_sha256
        return (self.layout.store / digest / "tiny-0000.params").read_text()

    def _report(self, text: str) -> None:
        self.reports.append(text)
        self.clockwork.tick(text)

    def _probe(self, socket: Path, model: str, timeout_s: float) -> None:
        release = socket.name.removesuffix(".sock")
        self.clockwork.tick(f"probe {release}")
        if model in self.mute or not self.supervisor.units[release].up:
            raise ProbeError(f"{socket} did not answer.", fix="see the journal.")
