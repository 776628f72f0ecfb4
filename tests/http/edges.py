"""A release behind nginx with the role's templates, beside the control application."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
from servers import (
    ROOT,
    Server,
    control_server,
    release_server,
    until,
    write_generation,
    write_release,
)

from mms_server.layout import Layout
from mms_server.liveness import holders
from mms_server.release import Release
from tests.bench.edge import nginx, programs
from tests.ports import free_port


@dataclass(kw_only=True)
class Edge(Server):
    """nginx, the release that it leads to, and the processes of the control application."""

    release: Release
    control_pids: Sequence[int]


@contextmanager
def batch_edge(place: Path, **settings: Any) -> Iterator[Edge]:
    """Serve the zoo's model that takes as long as it is told, one request at a time."""
    port, witness = free_port(), place / "sizes"
    witness.touch()
    release = write_release(
        place,
        models.batch(place),
        max_batch_size=1,
        environment={"BATCH_WITNESS": str(witness)},
        **settings,
    )
    layout = Layout.under(place)
    with ExitStack() as stack:
        served = stack.enter_context(release_server(place, release))
        until(lambda: len(holders(served.alive)) == release.workers + 1)
        write_generation(place, release)
        master = stack.enter_context(control_server(place))
        children = Path(f"/proc/{master}/task/{master}/children")
        until(children.read_text)
        pids = [master, *map(int, children.read_text().split())]
        process = stack.enter_context(nginx(place, port, programs(ROOT / "build" / "bench")))
        for name in ("batch", "@only"):
            (layout.live / f"{name}.sock").symlink_to(layout.socket(release.id))
        log = place / "var/log/nginx/error.log"
        yield Edge(port, process, log, served.alive, release=release, control_pids=pids)


@contextmanager
def stopped(edge: Edge) -> Iterator[None]:
    """Stop the control application for a while."""
    for pid in edge.control_pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in edge.control_pids:
            os.kill(pid, signal.SIGCONT)
