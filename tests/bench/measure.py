"""The measurement of a model behind nginx: closed and bare loops in turn, then the open loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mms_server.config import backend_names, cpu_count
from mms_server.config.model_settings import DEFAULT_BATCH
from mms_server.core.paths import Layout
from tests.bench import edge, figures, models
from tests.bench.edge import Programs
from tests.bench.figures import Row, Window
from tests.bench.limit import ANY_DIFFERENCE, Limit, Shape
from tests.bench.load import Sent, Target, closed_loop, coming_first, open_loop
from tests.bench.models import Subject
from tests.bench.processes import processor_s, pss_mib
from tests.bench.releases import put_sample, started
from tests.bench.report import BUILD
from tests.fixtures.servers import multipart, write_generation, write_release
from tests.ports import free_port

SYSTEM: Final = "mms-hosts"

_BOUND_TIMES: Final = 3
_OPEN_SHARE: Final = 0.7
_BOUND_ARRIVALS: Final = 60_000
# Python is too slow as the client of an open loop for the small models.
_OPEN_MOST_PER_S: Final = 200.0
_WARM_UP_S: Final = 1.0


@dataclass(frozen=True)
class Effort:
    """The extent of a measurement: connections, runs of each, seconds of a run, seed of arrivals.

    ``max_batch_size`` and ``engine`` are the settings of the models.
    """

    connections: Sequence[int]
    runs: int
    window_s: float
    seed: int
    max_batch_size: int = DEFAULT_BATCH
    engine: str = backend_names.MXNET


@dataclass(frozen=True)
class Bench:
    """nginx on ``port``, with ``place`` as the root of a host, and the extent of measurements."""

    place: Path
    port: int
    found: Programs
    nginx_pid: int
    effort: Effort
    say: Callable[[str], None]

    @contextlib.contextmanager
    def serving(self, subject: Subject, **settings: Any) -> Iterator[Measured]:
        """Serve the model as a release with one worker per core, and load its bare loops.

        ``settings`` are further settings of the release.
        """
        count, layout = cpu_count.of_this_host(), Layout.under(self.place)
        engine = self._engine_of(subject)
        release = write_release(
            self.place,
            subject.archive,
            model=subject.name,
            workers=count,
            max_batch_size=self.effort.max_batch_size,
            engine=engine,
            engine_tolerance=ANY_DIFFERENCE,
            **settings,
        )
        write_generation(self.place, release)
        picture = self.place / "picture.jpg"
        picture.write_bytes(subject.picture)
        body, kind = multipart({"data": ("picture.jpg", "image/jpeg", subject.picture)})
        link = layout.live / f"{subject.name}.sock"
        unpacked = layout.store / release.archive_sha256
        put_sample(unpacked, subject.picture)
        with (
            Limit(unpacked, picture, count, engine) as limit,
            started(self.place, release, body, kind) as (server, ready_s),
        ):
            link.symlink_to(layout.socket(release.id))
            target = Target(self.port, f"/{subject.name}/predict", body, kind, limit.top)
            pids = [server.process.pid, self.nginx_pid]
            try:
                own = Contestant(SYSTEM, engine, target, pids, ready_s)
                yield Measured(self, subject, limit, own, count)
            finally:
                link.unlink()

    def _engine_of(self, subject: Subject) -> str:
        """Return the engine of a model; a model without a network runs on MXNet, for comparison."""
        return self.effort.engine if subject.name in models.WITH_NETWORK else backend_names.MXNET


@contextlib.contextmanager
def behind_nginx(effort: Effort, say: Callable[[str], None]) -> Iterator[Bench]:
    """Run nginx on loopback, with a directory as the root of a host."""
    found = edge.programs(BUILD)
    # A short path: that of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="mms-bench-") as name:
        place, port = Path(name), free_port()
        with edge.nginx(place, port, found) as nginx:
            yield Bench(place, port, found, nginx.pid, effort, say)


@dataclass(frozen=True)
class Contestant:
    """A server in a comparison; ``pids`` are the root processes of its process trees.

    ``ready_s`` are the seconds from its start to its first answer.
    """

    system: str
    engine: str
    target: Target
    pids: Sequence[int]
    ready_s: float


class Measured:
    """A served model, with its raw limit after :meth:`closed`."""

    def __init__(
        self,
        bench: Bench,
        subject: Subject,
        limit: Limit,
        own: Contestant,
        workers: int,
    ) -> None:
        self._bench, self._subject, self._limit = bench, subject, limit
        self._own, self._workers = own, workers
        self.target = own.target
        self._limit_per_s = self._bare_ms = 0.0
        self._least_s = 0.0

    def closed(self, others: Sequence[Contestant] = ()) -> list[Row]:
        """Return a row for each number of connections, with the raw limit of the same minute.

        The runs of ``others`` alternate with those of this server, so that a noisy neighbour
        affects all.
        """
        effort, own = self._bench.effort, self._own
        turns = [(each, count) for count in effort.connections for each in (own, *others)]
        for each, connections in turns:
            self._run(each.target, connections, _WARM_UP_S)
        shape = self._limit.best(self._subject.batches, effort.window_s / 4)
        windows: list[list[Window]] = [[] for _turn in turns]
        limits: list[float] = []
        alone: list[float] = []
        for _ in range(effort.runs):
            for (each, connections), runs in zip(turns, windows, strict=True):
                runs.append(self._run(each.target, connections, effort.window_s))
            limits.append(self._limit.rate(shape, effort.window_s))
            alone.append(self._limit.rate(Shape(1, 1, 1), effort.window_s))
        self._limit_per_s = statistics.median(limits)
        self._bare_ms = 1000 / statistics.median(alone)
        ours = [runs for (each, _count), runs in zip(turns, windows, strict=True) if each is own]
        self._least_s = min(one.p50_ms for runs in ours for one in runs) / 1000
        told = " ".join(f"{one:.1f}" for one in limits)
        self._bench.say(f"  limit: {told} pictures a second with {shape}")
        pss = {each.system: pss_mib(each.pids) for each in (own, *others)}
        return [
            self._row(each, connections, runs, pss[each.system])
            for (each, connections), runs in zip(turns, windows, strict=True)
        ]

    def opened(self) -> list[dict[str, Any]]:
        """Return the row of the open loop; no row if the client is too slow for the model."""
        effort = self._bench.effort
        offered = _OPEN_SHARE * self._limit_per_s
        if offered > _OPEN_MOST_PER_S:
            return []
        seeds = range(effort.seed, effort.seed + effort.runs)
        runs = [self.arrivals(offered, effort.window_s, seed) for seed in seeds]
        whole = [run for run in runs if not figures.is_void([one.late_s for one in run])]
        if not whole:
            self._bench.say(f"  open loop at {offered:.1f} req/s: void, the client sent late")
            return []
        return [self._open_row(offered, whole, len(runs))]

    def arrivals(self, rate_per_s: float, seconds: float, seed: int) -> list[Sent]:
        """Return the results of the requests of an open loop with ``rate_per_s``."""
        schedule = figures.poisson_schedule(rate_per_s, seconds, random.Random(seed))
        with coming_first():
            return asyncio.run(open_loop(self.target, schedule))

    def ideal_p99_s(self, rate_per_s: float) -> float:
        """Return the 99th percentile of an ideal queue whose workers are as fast as the limit."""
        count, rng = self._workers, random.Random(self._bench.effort.seed)
        service_s = count / self._limit_per_s
        return figures.queueing_p99(count, service_s, rate_per_s, _BOUND_ARRIVALS, rng)

    def _open_row(self, offered: float, whole: Sequence[list[Sent]], runs: int) -> dict[str, Any]:
        effort = self._bench.effort
        window_s = effort.window_s
        bound_s = figures.bound_s(_BOUND_TIMES, self._least_s)
        good = [sum(one.right and one.seconds <= bound_s for one in run) for run in whole]
        answered = [one.seconds for run in whole for one in run]
        return {
            "system": SYSTEM,
            "model": self._subject.name,
            "engine": self._own.engine,
            "offered_per_s": statistics.median(len(run) for run in whole) / window_s,
            "good_per_s": statistics.median(good) / window_s,
            "bad": len(answered) - sum(good),
            "within_ms": 1000 * bound_s,
            "p50_ms": 1000 * figures.percentile(answered, 0.5),
            "p99_ms": 1000 * figures.percentile(answered, 0.99),
            "bound_p99_ms": 1000 * self.ideal_p99_s(offered),
            "void": runs - len(whole),
            "runs": runs,
        }

    def rate(self, connections: int, seconds: float) -> float:
        """Return the answers per second with this number of connections.

        Raises:
            RuntimeError: some requests failed, so the rate is not the capacity.
        """
        self._run(self.target, connections, _WARM_UP_S)
        found = self._run(self.target, connections, seconds)
        if found.failed:
            raise RuntimeError(f"{found.failed} requests failed with {connections} connections")
        return found.requests_per_s

    def took_ms(self, connections: int) -> tuple[float, dict[str, float]]:
        """Return requests per second, and the CPU milliseconds of a request by process."""
        roots = dict(zip(("workers", "nginx"), self._own.pids, strict=True))
        before = {name: processor_s(pid) for name, pid in roots.items()}
        client = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = self._bench.effort.window_s
        found = self._run(self.target, connections, seconds)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = {name: processor_s(pid) - before[name] for name, pid in roots.items()}
        took["client"] = after.ru_utime + after.ru_stime - client.ru_utime - client.ru_stime
        requests = found.requests_per_s * seconds
        return found.requests_per_s, {name: 1000 * one / requests for name, one in took.items()}

    def pss_mib(self) -> float:
        """Return the memory of nginx and of the release."""
        return pss_mib(self._own.pids)

    def _run(self, target: Target, connections: int, seconds: float) -> Window:
        bench = self._bench
        return closed_loop(bench.found, target, connections, seconds, bench.place)

    def _row(self, one: Contestant, connections: int, runs: Sequence[Window], pss: float) -> Row:
        return Row(
            system=one.system,
            model=self._subject.name,
            engine=one.engine,
            connections=connections,
            image_kb=len(self._subject.picture) / 1000,
            limit_per_s=self._limit_per_s,
            bare_ms=self._bare_ms,
            ready_s=one.ready_s,
            pss_mib=pss,
            runs=tuple(one.requests_per_s for one in runs),
            **dataclasses.asdict(figures.median_window(runs)),
        )
