"""The comparison with peers: one model served by all at a time, and updated under steady load."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.edge import Programs
from tests.bench.load import OK, Sent, Target, steady_clients
from tests.bench.measure import Contestant
from tests.bench.models import Subject
from tests.bench.peers.peer import Job, Peer
from tests.bench.peers.systems import PEERS

_CLIENTS: Final = 8
_EACH_PER_S: Final = 2.5
_AROUND_S: Final = 4.0
_LONGEST_S: Final = 60.0


@dataclass(frozen=True)
class Updated:
    """The result of an update of a model under the load of ``_CLIENTS`` connections."""

    system: str
    update: str
    seconds: float
    sent: int
    failed: int
    longest_s: float


@contextlib.contextmanager
def serving(
    names: Sequence[str], subject: Subject, place: Path, workers: int, found: Programs
) -> Iterator[list[Peer]]:
    """Run these peers with the model within the context.

    Raises:
        CalledProcessError: a peer cannot be installed.
        TimeoutError: a peer does not answer.
    """
    with contextlib.ExitStack() as ends:
        peers = []
        for name in (each for each in names if subject.name in PEERS[each].models):
            directory = place / name
            directory.mkdir(parents=True)
            job = Job(subject.name, subject.archive, subject.picture, workers, directory, found)
            peer = PEERS[name](job)
            peer.prepare()
            ends.callback(peer.stop)
            peer.start()
            peers.append(peer)
        yield peers


def contestants(peers: Sequence[Peer], top: str, say: Callable[[str], None]) -> list[Contestant]:
    """Return the peers for the comparison; answers must have the class of a peer's first answer.

    ``top`` is the class of the bare loop; a peer with another class is reported.
    """
    found = []
    for peer in peers:
        own = peer.top()
        if own != top and peer.engine == "mxnet":
            say(f"  {peer.name} finds {own} likeliest, the bare loop {top}")
        found.append(
            Contestant(peer.name, peer.engine, peer.target(own), peer.pids(), peer.ready_s)
        )
    return found


def update(peer: Peer) -> Updated:
    """Update a peer's model under steady load, and count the failed requests."""
    taken: list[float] = []
    sent = asyncio.run(_under_load(peer, peer.target(peer.top()), taken))
    failed = sum(each.status != OK for each in sent)
    longest = max(each.seconds for each in sent)
    return Updated(peer.name, peer.update_is, taken[0], len(sent), failed, longest)


async def _under_load(peer: Peer, target: Target, taken: list[float]) -> list[Sent]:
    """Send requests from some seconds before the update until the same time after it."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    async def change() -> None:
        try:
            await asyncio.sleep(_AROUND_S)
            began = loop.time()
            await asyncio.wait_for(asyncio.to_thread(peer.update), _LONGEST_S)
            taken.append(loop.time() - began)
            await asyncio.sleep(_AROUND_S)
        finally:
            ended.set()

    changing = asyncio.create_task(change())
    sent = await steady_clients(target, _CLIENTS, _EACH_PER_S, ended)
    await changing
    return sent


def table(rows: Sequence[Updated]) -> str:
    """Return the updates as a Markdown table."""
    head = "| system | update | took s | requests | failed | longest answer s |"
    lines = [head, "|---|---|--:|--:|--:|--:|"]
    lines += [
        f"| {row.system} | {row.update} | {row.seconds:.1f} | {row.sent} "
        f"| {row.failed} | {row.longest_s:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)
