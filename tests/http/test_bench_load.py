"""Tests of the load of the benchmarks against a real server: right and wrong answers, and times."""

from __future__ import annotations

import asyncio

from tests.bench.load import Sent, Target, open_loop, steady_clients
from tests.fixtures import models, servers


def _target(server: servers.Server, top: str, port: int | None = None) -> Target:
    body, kind = servers.multipart({"data": ("red.jpg", "image/jpeg", models.picture((255, 0, 0)))})
    assert isinstance(server.place, int)
    return Target(port or server.place, "/colors/predict", body, kind, top)


def _sent(server: servers.Server, top: str, port: int | None = None) -> list[Sent]:
    return asyncio.run(open_loop(_target(server, top, port), [0.0, 0.02, 0.04, 0.06]))


async def _for(seconds: float, target: Target, clients: int, each_per_s: float) -> list[Sent]:
    ended = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, ended.set)
    return await steady_clients(target, clients, each_per_s, ended)


def test_answers_of_the_expected_class_are_right(server: servers.Server) -> None:
    sent = _sent(server, "red")

    assert [one.right for one in sent] == [True] * 4
    assert all(one.seconds > one.late_s >= 0 for one in sent)


def test_answers_of_another_class_are_wrong(server: servers.Server) -> None:
    assert [one.right for one in _sent(server, "blue")] == [False] * 4


def test_a_refused_connection_is_wrong(server: servers.Server) -> None:
    assert [one.right for one in _sent(server, "red", port=1)] == [False] * 4


def test_steady_clients_keep_their_rate_when_connections_are_refused(
    server: servers.Server,
) -> None:
    for port, right in ((None, True), (1, False)):
        sent = asyncio.run(_for(0.9, _target(server, "red", port), clients=4, each_per_s=5))

        assert {one.right for one in sent} == {right}
        assert 4 <= len(sent) <= 4 * 5
