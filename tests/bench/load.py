"""Load through nginx: a closed loop by wrk, and an open loop that sends when it was planned."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.edge import Programs
from tests.bench.figures import Window

_SCRIPT = Path(__file__).with_name("predict.lua")
_REQUEST_LIMIT_S = 30.0


@dataclass(frozen=True)
class Target:
    """One prediction to repeat; ``top`` is the first class of a right answer."""

    port: int
    path: str
    body: bytes
    content_type: str
    top: str


@dataclass(frozen=True)
class Sent:
    """One request of an open loop: seconds from its planned time to its answer, and how late."""

    seconds: float
    late_s: float
    right: bool


def closed_loop(
    found: Programs, target: Target, connections: int, seconds: float, scratch: Path
) -> Window:
    """Return what wrk measures with so many connections, each with one request under way.

    Raises:
        RuntimeError: wrk did not run to its end.
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


def open_loop(target: Target, schedule: Sequence[float]) -> list[Sent]:
    """Return what became of each request; a new connection carries each, so none waits for one."""
    return asyncio.run(_open_loop(target, schedule))


async def _open_loop(target: Target, schedule: Sequence[float]) -> list[Sent]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    tasks = []
    for planned in schedule:
        await asyncio.sleep(max(started + planned - loop.time(), 0))
        tasks.append(asyncio.create_task(_one(target, started + planned)))
    return list(await asyncio.gather(*tasks))


async def _one(target: Target, planned: float) -> Sent:
    loop = asyncio.get_running_loop()
    late = loop.time() - planned
    try:
        async with asyncio.timeout(_REQUEST_LIMIT_S):
            answer = await _exchange(target)
    except (OSError, TimeoutError):
        answer = b""
    right = answer.startswith(b"HTTP/1.1 200") and _first(target.top) in answer
    return Sent(loop.time() - planned, late, right)


async def _exchange(target: Target) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    head = (
        f"POST {target.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: {target.content_type}\r\nContent-Length: {len(target.body)}\r\n\r\n"
    )
    try:
        writer.write(head.encode() + target.body)
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()


def _first(top: str) -> bytes:
    return f'"prediction":[[{{"class":"{top}"'.encode()
