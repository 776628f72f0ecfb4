"""Load through nginx: a closed loop by wrk, and an open loop that sends at planned times."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.edge import Programs
from tests.bench.figures import Window

_SCRIPT = Path(__file__).with_name("predict.lua")
_REQUEST_LIMIT_S = 30.0
_VERSION = b"HTTP/1.1 "
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})\r\n", re.IGNORECASE)
FIRST_CLASS = re.compile(rb'"class"\s*:\s*"([^"]*)"')
OK = 200
_CLIENT_NICE = -10


@dataclass(frozen=True)
class Target:
    """A prediction request to repeat; ``top`` is the first class of a right answer."""

    port: int
    path: str
    body: bytes
    content_type: str
    top: str


@dataclass(frozen=True)
class Sent:
    """One request of an open loop: seconds from its planned time to its answer, and its lateness.

    ``status`` is that of the answer; 0 if there was none.
    """

    seconds: float
    late_s: float
    right: bool
    status: int


def closed_loop(
    found: Programs, target: Target, connections: int, seconds: float, scratch: Path
) -> Window:
    """Return the result of wrk with ``connections``, each with one request in flight.

    Raises:
        RuntimeError: wrk failed.
    """
    body = scratch / "body"
    body.write_bytes(target.body)
    command = [
        found.wrk,
        "--threads=1",
        f"--connections={connections}",
        f"--duration={seconds:g}s",
        f"--timeout={_REQUEST_LIMIT_S:g}s",
        f"--script={_SCRIPT}",
        f"http://127.0.0.1:{target.port}{target.path}",
        "--",
        str(body),
        target.content_type,
        target.top,
    ]
    limit_s = seconds + 2 * _REQUEST_LIMIT_S
    done = subprocess.run(
        command, capture_output=True, text=True, env=found.environment, timeout=limit_s, check=False
    )
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode or not last.startswith("{"):
        raise RuntimeError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    told = json.loads(last)
    rate = told["requests"] / told["seconds"]
    return Window(rate, told["p50_ms"], told["p99_ms"], told["failed"])


@contextlib.contextmanager
def coming_first() -> Iterator[None]:
    """Give this process high CPU priority (as root), so that it sends on time within the context.

    It stands for many clients with CPUs of their own. Processes that it starts have the priority
    too.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _CLIENT_NICE)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


async def open_loop(target: Target, schedule: Sequence[float]) -> list[Sent]:
    """Return the result of each request; each has a new connection, so none waits for another."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    request = _request(target)
    tasks = []
    for planned in schedule:
        await asyncio.sleep(max(started + planned - loop.time(), 0))
        tasks.append(asyncio.create_task(_one(target, request, started + planned)))
    return list(await asyncio.gather(*tasks))


async def steady_clients(
    target: Target, clients: int, each_per_s: float, ended: asyncio.Event
) -> list[Sent]:
    """Return the results of the requests of some clients, each with one request in flight.

    A client sends ``each_per_s`` requests per second, or the next one after an answer if that is
    later. So a server that refuses at once does not get more requests than one that answers.
    Latency counts from the time of sending. No request is sent after ``ended`` is set.
    """
    loop, request = asyncio.get_running_loop(), _request(target)

    async def client(number: int) -> list[Sent]:
        sent: list[Sent] = []
        await asyncio.sleep(number / clients / each_per_s)
        while not ended.is_set():
            began = loop.time()
            sent.append(await _one(target, request, began))
            await asyncio.sleep(max(began + 1 / each_per_s - loop.time(), 0))
        return sent

    rows = await asyncio.gather(*(client(number) for number in range(clients)))
    return [one for row in rows for one in row]


def _request(target: Target) -> bytes:
    head = (
        f"POST {target.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: {target.content_type}\r\nContent-Length: {len(target.body)}\r\n\r\n"
    )
    return head.encode() + target.body


async def _one(target: Target, request: bytes, planned: float) -> Sent:
    loop = asyncio.get_running_loop()
    late = loop.time() - planned
    try:
        async with asyncio.timeout(_REQUEST_LIMIT_S):
            answer = await exchange(target.port, request)
    except (OSError, TimeoutError):
        answer = b""
    head = answer[len(_VERSION) : len(_VERSION) + 3] if answer.startswith(_VERSION) else b""
    status = int(head) if head.isdigit() else 0
    best = FIRST_CLASS.search(answer) if status == OK else None
    right = best is not None and best[1] == target.top.encode()
    return Sent(loop.time() - planned, late, right, status)


async def exchange(port: int, request: bytes) -> bytes:
    """Return the answer to a request that asks for its connection to be closed.

    Raises:
        OSError: the connection was refused or lost.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        # Some servers do not close a connection on request.
        return head + (await reader.readexactly(int(length[1])) if length else await reader.read())
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError("the answer was not whole") from error
    finally:
        writer.close()
