"""The transaction of a change: all of it or nothing.

The process can be killed at any step. New releases get ready beside the old ones, then the links
are switched, then the generation is written. Until then the old releases run, and a boot starts
them. A killed transaction leaves only releases that no generation has; the next one stops them.

If memory does not suffice for both, a model changes with a gap. The new release's socket is opened
and its start barrier placed, the link is switched, and the old release is drained and ended. Then
the new one loads and answers the requests that wait at its socket. The revert of a failure takes
the same steps with the old release.
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
from mms_server.deploy.revert import Progress, make_error, place_barrier, revert
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
class Result:
    """The result of a change; ``gap_s`` is the longest wait of requests in seconds, by model."""

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
        self._progress = Progress()
        self._gap_s: dict[str, float] = {}

    def run(self) -> Result:
        """Carry out the plan.

        Raises:
            ReleaseFailedError: a step failed; the host serves what it served before.
        """
        try:
            self._evict()
            self._configure()
            for name, release in self._plan.to_start():
                if name not in self._forecast.gap:
                    self._start(name, release)
            if self._forecast.gap:
                self._change_with_gap()
            self._switch(list(self._ids))
            number = self._commit()
        except (Exception, KeyboardInterrupt) as error:
            revert(self._host, self._observed, self._ids, self._progress)
            if isinstance(error, MMSError | OSError):
                raise make_error(self._host, error, self._progress) from error
            raise
        return Result(number, tuple(self._settle()), self._gap_s)

    def _begin_step(self, name: str, step: str) -> None:
        self._progress.model, self._progress.step = name, step
        release = self._named.get(name)
        self._host.report(f"{'group' if release and release.group else 'model'} {name}: {step}")

    def _evict(self) -> None:
        for release in self._forecast.evicted:
            self._begin_step(model_of(release), f"free memory: end release {release}")
            if self._observed.state(release).boots:
                self._host.supervisor.disable(release)
            retire.stop(self._host, release)

    def _configure(self) -> None:
        """Write all drop-ins at once, so that systemd reads its units once."""
        starting = [self._named[name] for name, _release in self._plan.to_start()]
        if starting:
            names = ", ".join(release.model for release in starting)
            self._begin_step(names, "write the drop-in of its unit")
            layout = self._host.layout
            contents = {release.id: unit_dropin.render(layout, release) for release in starting}
            self._host.supervisor.configure(contents)

    def _prepare(self, name: str, release: str) -> None:
        """Write ``release.json``, before a unit of the release starts."""
        observed, self._progress.release = self._observed, release
        if release not in observed.models.values() and not observed.is_warm(release):
            self._progress.started[release] = name in self._forecast.gap
        self._begin_step(name, f"write release {release}")
        text = self._named[name].to_json()
        write_atomically(self._host.layout.release_file(release), text)

    def _start(self, name: str, release: str) -> None:
        host, state = self._host, self._observed.state(release)
        self._prepare(name, release)
        start_barrier.lift(host.layout, release)
        began = host.uptime()
        if not state.up:
            self._begin_step(name, "open the socket")
            host.supervisor.open_socket(release)
            self._begin_step(name, "start")
            # A release that is starting may have used its start timeout at a barrier: restart it.
            start = host.supervisor.start
            if state.service == "activating":
                start = host.supervisor.restart
            start(release, host.settings.start_timeout_s)
        self._probe(name, release)
        if not state.up:
            self._measure(release, host.uptime() - began)

    def _probe(self, name: str, release: str) -> None:
        """Wait for a first answer of each model, then store the converted network."""
        self._begin_step(name, "ask for a first answer")
        settings, described = self._host.settings, self._named[name]
        # On a GPU the workers load the model after the service is ready.
        timeout_s = settings.start_timeout_s if described.on_gpu else settings.probe_timeout_s
        for model in described.parts:
            self._host.probe(self._host.layout.socket(release), model, timeout_s)
        try:
            converted_networks.move_to_store(self._host.layout, self._host.store, described)
        except OSError as error:
            self._host.report(f"the converted network of {release} is not stored: {error}")
        self._host.supervisor.restore_cpu_weight(release)

    def _measure(self, release: str, ready_s: float) -> None:
        host = self._host
        try:
            usage = host.supervisor.usage([release])[release]
            if usage.memory_bytes:
                peak = max(usage.memory_bytes, usage.peak_bytes or 0)
                profile = ResourceProfile(usage.memory_bytes, peak, ready_s)
                resource_profile.write(host.layout.measured_file(release), profile)
        except (MMSError, OSError) as error:
            host.report(f"release {release} is not measured: {error}")

    def _measure_again(self, release: str) -> None:
        """Measure the memory of a release at its end: it may have grown, and need that again."""
        profile = resource_profile.read(self._host.layout.measured_file(release))
        if profile:
            self._measure(release, profile.ready_s)

    def _change_with_gap(self) -> None:
        """Switch to the ready releases and end those they replace; then change those of the gap."""
        gap = self._forecast.gap
        self._switch([model for model, name in self._ids.items() if model_of(name) not in gap])
        replaced_by = {name: self._plan.replaced_by(self._named[name].id) for name in gap}
        for release in self._leftovers():
            if not any(release in replaced for replaced in replaced_by.values()):
                self._end(release)
        for name, replaced in replaced_by.items():
            ending = [old for old in self._leftovers() if old in replaced]
            self._change_one_with_gap(name, self._named[name].id, ending)

    def _change_one_with_gap(self, name: str, release: str, replaced: Sequence[str]) -> None:
        host = self._host
        if not replaced:
            self._start(name, release)
            return
        self._prepare(name, release)
        self._begin_step(name, "place the start barrier and open the socket")
        place_barrier(host, release)
        host.supervisor.open_socket(release)
        gap_began = host.uptime()
        self._switch(list(self._named[name].parts))
        for old in replaced:
            self._end(old)
        self._begin_step(name, "start")
        start_began = host.uptime()
        start_barrier.lift(host.layout, release)
        # A restart: the wait at the barrier has used a part of the start timeout.
        host.supervisor.restart(release, host.settings.start_timeout_s)
        self._probe(name, release)
        self._gap_s |= dict.fromkeys(self._named[name].parts, host.uptime() - gap_began)
        self._measure(release, host.uptime() - start_began)

    def _leftovers(self) -> list[str]:
        return [name for name in self._plan.leftovers if name not in self._forecast.evicted]

    def _end(self, release: str) -> None:
        """End a release before the generation is written; the revert starts it again."""
        self._begin_step(model_of(release), f"free memory: end release {release}")
        if self._observed.state(release).up:
            self._measure_again(release)
            errors: list[str] = []
            retire.attempt(errors, partial(retire.drain, self._host, release))
            for error in errors:
                self._host.report(error)
        self._progress.ended.append(release)
        retire.stop(self._host, release)

    def _switch(self, models: Sequence[str]) -> None:
        """Point the links of ``models`` at the wanted releases; remove stale links."""
        layout = self._host.layout
        for model, release in self._plan.links.items():
            if model in models and live_links.read(layout).get(model) != release:
                self._begin_step(model, "switch the link")
                self._progress.switched = True
                live_links.point(layout, model, release)
        for model in self._plan.stale_links:
            if model in live_links.read(layout):
                self._begin_step(model, "remove the link")
                self._progress.switched = True
                live_links.remove(layout, model)
        live_links.update_only_link(layout)

    def _commit(self) -> int | None:
        current = self._observed.generation
        if not self._plan.new_generation:
            return current.number if current else None
        wanted = self._wanted
        number = current.number + 1 if current else 1
        made_at = self._host.now().isoformat(timespec="seconds")
        self._begin_step(", ".join(wanted.releases), f"write generation {number}")
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
        self._progress.generation = number
        generations.write(self._host.layout, generation)
        return number

    def _settle(self) -> list[str]:
        """Enable the new releases and retire the old ones; return warnings.

        The change is done at this point, so errors are only warnings.
        """
        supervisor, warnings = self._host.supervisor, list[str]()
        for name, described in self._named.items():
            release = described.id
            if not self._observed.state(release).enabled:
                self._begin_step(name, "start at boot from now on")
                retire.attempt(warnings, partial(supervisor.enable, release))
            if release in self._observed.warm:
                warm_standby.forget(self._host.layout, release)
        for release in self._leftovers():
            if self._observed.state(release).boots:
                self._begin_step(model_of(release), f"release {release} no longer starts at boot")
                retire.attempt(warnings, partial(supervisor.disable, release))
            if release not in self._progress.ended:
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
