"""One change of one host, all of it or nothing.

The order makes it safe to be killed anywhere. New releases get ready beside the old ones, then the
links move, then the generation is written; until then the old releases run and are what a boot
starts. Whatever a killed run left is a release that no generation wants: the next run stops it.

Where memory does not allow that, a model changes with a gap: its new socket is opened while its
server is held, the link moves, the old release is drained and ends, and the new one loads what
waits in its socket. A failure goes the same way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mms_server.core.errors import MMSError
from mms_server.core.files import write_atomically
from mms_server.deploy import converted_networks, retire
from mms_server.deploy.capacity import Forecast
from mms_server.deploy.desired_state import DesiredState
from mms_server.deploy.host_context import Host
from mms_server.deploy.plan import ObservedState, Plan
from mms_server.deploy.revert import Progress, explained, hold, put_back
from mms_server.host import (
    generations,
    live_links,
    resource_profile,
    start_barrier,
    unit_dropin,
    warm_standby,
)
from mms_server.host.generations import Generation
from mms_server.host.release import model_of
from mms_server.host.resource_profile import ResourceProfile


@dataclass(frozen=True)
class Done:
    """What a change came to; ``gap_s`` is by model how long requests waited at most."""

    generation: int | None
    warnings: tuple[str, ...]
    gap_s: dict[str, float]


class Transaction:
    """Carries out a plan under the host's lock."""

    def __init__(
        self,
        host: Host,
        wanted: DesiredState,
        observed: ObservedState,
        plan: Plan,
        forecast: Forecast,
    ) -> None:
        self._host = host
        self._wanted = wanted
        self._ids = wanted.ids()
        self._named = wanted.named
        self._observed = observed
        self._plan = plan
        self._forecast = forecast
        self._at = Progress()
        self._gap_s: dict[str, float] = {}

    def run(self) -> Done:
        """Carry out the plan.

        Raises:
            ReleaseFailedError: a step failed; the host serves what it served.
        """
        try:
            self._make_room()
            self._configure()
            for name, release in self._plan.to_start():
                if name not in self._forecast.gap:
                    self._start(name, release)
            if self._forecast.gap:
                self._change_with_gap()
            self._switch(list(self._ids))
            number = self._commit()
        except (Exception, KeyboardInterrupt) as error:
            put_back(self._host, self._observed, self._ids, self._at)
            if isinstance(error, MMSError | OSError):
                raise explained(self._host, error, self._at) from error
            raise
        return Done(number, tuple(self._settle()), self._gap_s)

    def _enter(self, name: str, step: str) -> None:
        self._at.model, self._at.step = name, step
        release = self._named.get(name)
        self._host.report(f"{'group' if release and release.group else 'model'} {name}: {step}")

    def _make_room(self) -> None:
        for release in self._forecast.evicted:
            self._enter(model_of(release), f"make room: end release {release}")
            if self._observed.state(release).boots:
                self._host.supervisor.disable(release)
            retire.stop(self._host, release)

    def _configure(self) -> None:
        """Write what the units have of their own, all at once: systemd reads its files once."""
        wanted = [self._named[name] for name, _release in self._plan.to_start()]
        if wanted:
            self._enter(", ".join(row.model for row in wanted), "write what its unit needs")
            layout = self._host.layout
            contents = {row.id: unit_dropin.render(layout, row) for row in wanted}
            self._host.supervisor.configure(contents)

    def _prepare(self, name: str, release: str) -> None:
        """Write what the release is, before anything of it starts."""
        observed, self._at.release = self._observed, release
        if release not in observed.models.values() and not observed.is_warm(release):
            self._at.made[release] = name in self._forecast.gap
        self._enter(name, f"write release {release}")
        text = self._named[name].to_json()
        write_atomically(self._host.layout.release_file(release), text)

    def _start(self, name: str, release: str) -> None:
        host, state = self._host, self._observed.state(release)
        self._prepare(name, release)
        start_barrier.lift(host.layout, release)
        began = host.uptime()
        if not state.up:
            self._enter(name, "open the socket")
            host.supervisor.open_socket(release)
            self._enter(name, "start")
            # One that is starting may have used up its time in a hold: it begins anew.
            start = host.supervisor.start
            if state.service == "activating":
                start = host.supervisor.restart
            start(release, host.settings.start_timeout_s)
        self._first_answer(name, release)
        if not state.up:
            self._measure(release, host.uptime() - began)

    def _first_answer(self, name: str, release: str) -> None:
        self._enter(name, "ask for a first answer")
        settings, described = self._host.settings, self._named[name]
        # On a GPU the workers load the model, after the service is said to be ready.
        wait_s = settings.start_timeout_s if described.on_gpu else settings.probe_timeout_s
        for model in described.parts:
            self._host.probe(self._host.layout.socket(release), model, wait_s)
        try:
            converted_networks.take(self._host.layout, self._host.store, described)
        except OSError as error:
            self._host.report(f"the converted network of {release} is not kept: {error}")
        self._host.supervisor.restore_cpu_weight(release)

    def _measure(self, release: str, ready_s: float) -> None:
        host = self._host
        try:
            usage = host.supervisor.usage([release])[release]
            if usage.memory_bytes:
                peak = max(usage.memory_bytes, usage.peak_bytes or 0)
                found = ResourceProfile(usage.memory_bytes, peak, ready_s)
                resource_profile.write(host.layout.measured_file(release), found)
        except (MMSError, OSError) as error:
            host.report(f"release {release} is not measured: {error}")

    def _measure_again(self, release: str) -> None:
        """Note what a release has grown to while it served: that is what it needs another time."""
        seen = resource_profile.read(self._host.layout.measured_file(release))
        if seen:
            self._measure(release, seen.ready_s)

    def _change_with_gap(self) -> None:
        """Let what is ready take over, and end what it replaces; then change the rest in turn."""
        gap = self._forecast.gap
        self._switch([model for model, name in self._ids.items() if model_of(name) not in gap])
        places = {name: self._plan.replaced_by(self._named[name].id) for name in gap}
        for release in self._leftovers():
            if not any(release in replaced for replaced in places.values()):
                self._end(release)
        for name, replaced in places.items():
            ending = [each for each in self._leftovers() if each in replaced]
            self._change_one_with_gap(name, self._named[name].id, ending)

    def _change_one_with_gap(self, name: str, release: str, replaced: Sequence[str]) -> None:
        host = self._host
        if not replaced:
            self._start(name, release)
            return
        self._prepare(name, release)
        self._enter(name, "open the socket and hold the release")
        hold(host, release)
        host.supervisor.open_socket(release)
        began = host.uptime()
        self._switch(list(self._named[name].parts))
        for each in replaced:
            self._end(each)
        self._enter(name, "start")
        began_start = host.uptime()
        start_barrier.lift(host.layout, release)
        # Anew: what was held has used up a part of its time.
        host.supervisor.restart(release, host.settings.start_timeout_s)
        self._first_answer(name, release)
        self._gap_s |= dict.fromkeys(self._named[name].parts, host.uptime() - began)
        self._measure(release, host.uptime() - began_start)

    def _leftovers(self) -> list[str]:
        return [name for name in self._plan.leftovers if name not in self._forecast.evicted]

    def _end(self, release: str) -> None:
        """End a release before the change is done: it is started again if that fails."""
        self._enter(model_of(release), f"end release {release}, to make room")
        if self._observed.state(release).up:
            self._measure_again(release)
            notes: list[str] = []
            retire.attempt(notes, partial(retire.drain, self._host, release))
            for note in notes:
                self._host.report(note)
        self._at.ended.append(release)
        retire.stop(self._host, release)

    def _switch(self, models: Sequence[str]) -> None:
        """Point the links of ``models`` at what is wanted; no link stays of what is not."""
        layout = self._host.layout
        for model, release in self._plan.links.items():
            if model in models and live_links.read(layout).get(model) != release:
                self._enter(model, "switch the link")
                self._at.switched = True
                live_links.point(layout, model, release)
        for model in self._plan.stale_links:
            if model in live_links.read(layout):
                self._enter(model, "remove the link")
                self._at.switched = True
                live_links.remove(layout, model)
        live_links.update_only_link(layout)

    def _commit(self) -> int | None:
        current = self._observed.generation
        if not self._plan.new_generation:
            return current.number if current else None
        wanted = self._wanted
        number = current.number + 1 if current else 1
        made_at = self._host.now().isoformat(timespec="seconds")
        self._enter(", ".join(wanted.releases), f"write generation {number}")
        generation = Generation(
            number,
            made_at,
            self._host.by,
            str(wanted.conf.absolute()),
            self._ids,
            wanted.host,
            wanted.port,
            wanted.metrics_write_to,
            dict(wanted.keep_warm_s),
            wanted.restores,
        )
        self._at.written = number
        generations.write(self._host.layout, generation)
        return number

    def _settle(self) -> list[str]:
        """Make it last and let the old releases end. The change is done: failures are warnings."""
        supervisor, warnings = self._host.supervisor, list[str]()
        for name, described in self._named.items():
            release = described.id
            if not self._observed.state(release).enabled:
                self._enter(name, "start at boot from now on")
                retire.attempt(warnings, partial(supervisor.enable, release))
            if release in self._observed.warm:
                warm_standby.forget(self._host.layout, release)
        for release in self._leftovers():
            if self._observed.state(release).boots:
                self._enter(model_of(release), f"release {release} no longer starts at boot")
                retire.attempt(warnings, partial(supervisor.disable, release))
            if release not in self._at.ended:
                self._retire(release, warnings)
        return warnings

    def _retire(self, release: str, warnings: list[str]) -> None:
        host, drained = self._host, False
        if self._observed.state(release).up:
            self._measure_again(release)
            drained = retire.attempt(warnings, partial(retire.drain, host, release))
        seconds = self._plan.keep_warm.get(release, 0)
        if drained and seconds:
            retire.attempt(warnings, partial(retire.keep, host, release, seconds))
        else:
            retire.attempt(warnings, partial(retire.stop, host, release))
