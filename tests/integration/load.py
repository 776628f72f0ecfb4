"""Steady load on hosts: busy and mostly idle clients with keep-alive connections.

Each client keeps one HTTP/1.1 connection open and uses it again, as browsers and load balancers do.
It counts each connection that the server closes without notice, each status other than 200, and
each answer with the wrong class. It retries nothing.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import secrets
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

REQUEST_TIMEOUT_S = 90.0

Ranking = list[dict[str, Any]]
"""Classes with probabilities, the most probable first."""


@dataclass(frozen=True)
class Request:
    """One prediction request; ``right`` returns whether a ranking is a right answer."""

    host: str
    path: str
    body: bytes
    content_type: str
    right: Callable[[Ranking], bool]

    @classmethod
    def of_image(
        cls, host: str, model: str, image: Path, expected: str | Callable[[Ranking], bool]
    ) -> Request:
        """Return the upload of a JPEG file as the field ``data``, as curl sends it.

        ``expected`` is the most probable class of a right answer, or a function that judges it.
        """
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="data"; filename="{image.name}"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        body = head.encode() + image.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        content_type = f"multipart/form-data; boundary={boundary}"
        right = expected if callable(expected) else lambda rows: rows[0]["class"] == expected
        return cls(host, f"/{model}/predict", body, content_type, right)


@dataclass(frozen=True)
class Answer:
    """The result of one request; ``problem`` is empty if the answer is right. Times in seconds."""

    host: str
    path: str
    started: float
    seconds: float
    problem: str
    wrong: bool = False


@dataclass
class Report:
    """All answers of a run, in no particular order."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def failed(self) -> list[Answer]:
        """Requests without a 200."""
        return [answer for answer in self.answers if answer.problem and not answer.wrong]

    @property
    def wrong(self) -> list[Answer]:
        """Answers with status 200 and another class than the right one."""
        return [answer for answer in self.answers if answer.wrong]

    def of(self, path: str) -> Report:
        """Return the answers to requests for one path."""
        return Report([answer for answer in self.answers if answer.path == path])

    def between(self, start: float, end: float) -> Report:
        """Return the answers to requests sent from ``start`` to ``end`` of the monotonic clock."""
        return Report([answer for answer in self.answers if start <= answer.started < end])

    def percentile_ms(self, share: float) -> float:
        """Return the latency, in milliseconds, of the percentile ``share`` (0 to 1)."""
        times = sorted(answer.seconds for answer in self.answers)
        return times[min(len(times) - 1, int(share * len(times)))] * 1000 if times else 0.0

    def __str__(self) -> str:
        per_host = Counter(answer.host for answer in self.answers)
        sent = ", ".join(f"{host} {count}" for host, count in sorted(per_host.items()))
        latency = ", ".join(
            f"{name} {self.percentile_ms(share):.0f} ms"
            for name, share in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0))
        )
        summary = f"sent {len(self.answers)} ({sent}), failed {len(self.failed)}, "
        lines = [f"{summary}wrong {len(self.wrong)}, {latency}"]
        kinds = Counter(a.problem for a in self.answers if a.problem)
        lines += [f"  {count} x {kind}" for kind, count in kinds.most_common(10)]
        return "\n".join(lines)


class Client(threading.Thread):
    """One client with one connection, pausing ``pause()`` seconds between requests."""

    def __init__(
        self, request: Request, pause: Callable[[], float], stop: threading.Event, report: Report
    ) -> None:
        super().__init__(daemon=True)
        self._request = request
        self._pause = pause
        self._stop_event = stop
        self._report = report
        self._connection = http.client.HTTPConnection(request.host, timeout=REQUEST_TIMEOUT_S)

    def run(self) -> None:
        """Send until stopped."""
        while not self._stop_event.is_set():
            self._report.answers.append(self._send())
            self._stop_event.wait(self._pause())
        self._connection.close()

    def _send(self) -> Answer:
        request = self._request
        started = time.monotonic()
        problem, wrong = "", False
        try:
            headers = {"Content-Type": request.content_type}
            self._connection.request("POST", request.path, request.body, headers)
            response = self._connection.getresponse()
            text = response.read()
            problem, wrong = self._judge(response.status, text)
        except (OSError, http.client.HTTPException) as error:
            problem = f"{type(error).__name__}: {error}"
            self._connection.close()
        seconds = time.monotonic() - started
        return Answer(request.host, request.path, started, seconds, problem, wrong)

    def _judge(self, status: int, text: bytes) -> tuple[str, bool]:
        if status != http.client.OK:
            return f"status {status}: {text[:120]!r}", False
        ranking = json.loads(text)["prediction"][0]
        return ("", False) if self._request.right(ranking) else (f"answer {ranking}", True)


class Load:
    """Clients that run during the ``with`` block; the report is complete after it."""

    def __init__(
        self,
        requests: Sequence[Request],
        *,
        busy: int = 8,
        idle: int = 32,
        busy_pause_s: float = 0.05,
        idle_pause_s: float = 8.0,
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.Random(20)  # noqa: S311 - pauses, not secrets
        self.report = Report()
        self._stop = threading.Event()
        self._clients = [
            Client(requests[n % len(requests)], lambda: busy_pause_s, self._stop, self.report)
            for n in range(busy)
        ] + [
            Client(
                requests[n % len(requests)],
                lambda: rng.uniform(0, idle_pause_s),
                self._stop,
                self.report,
            )
            for n in range(idle)
        ]

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        deadline = time.monotonic() + REQUEST_TIMEOUT_S + 10
        for client in self._clients:
            client.join(max(0.0, deadline - time.monotonic()))
        stuck = sum(client.is_alive() for client in self._clients)
        if stuck and error is None:
            raise TimeoutError(f"{stuck} clients still wait for an answer")

    def wait_for_answers(self, count: int, *, timeout_s: float = 60.0) -> None:
        """Return when ``count`` more answers have arrived.

        Raises:
            TimeoutError: they did not arrive within ``timeout_s`` seconds.
        """
        wanted = len(self.report.answers) + count
        deadline = time.monotonic() + timeout_s
        while len(self.report.answers) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {count} answers within {timeout_s:.0f} s: {self.report}")
            time.sleep(0.05)


def main(arguments: list[str] | None = None) -> int:
    """Put load on hosts for some time and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hosts", nargs="+", metavar="HOST[:PORT]")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--image", type=Path, default=Path("build/models/images/seven.jpg"))
    parser.add_argument("--expected", default="7", metavar="CLASS")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--busy", type=int, default=8)
    parser.add_argument("--idle", type=int, default=32)
    options = parser.parse_args(arguments)
    requests = [
        Request.of_image(host, options.model, options.image, options.expected)
        for host in options.hosts
    ]
    with Load(requests, busy=options.busy, idle=options.idle) as load:
        time.sleep(options.seconds)
    sys.stdout.write(f"{load.report}\n")
    seconds = [answer.seconds for answer in load.report.answers]
    sys.stdout.write(f"mean {statistics.fmean(seconds) * 1000:.0f} ms\n" if seconds else "")
    return 1 if load.report.failed or load.report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
