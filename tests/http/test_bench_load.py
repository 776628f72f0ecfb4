"""The benchmark's open loop against a real server: what counts as right, and from when."""

from __future__ import annotations

import asyncio

import models
import servers

from tests.bench.load import Sent, Target, open_loop


def _sent(server: servers.Server, top: str, port: int | None = None) -> list[Sent]:
    body, kind = servers.multipart({"data": ("red.jpg", "image/jpeg", models.picture((255, 0, 0)))})
    assert isinstance(server.place, int)
    target = Target(port or server.place, "/colors/predict", body, kind, top)
    return asyncio.run(open_loop(target, [0.0, 0.02, 0.04, 0.06]))


def test_right_answers_are_right(server: servers.Server) -> None:
    sent = _sent(server, "red")

    assert [one.right for one in sent] == [True] * 4
    assert all(one.seconds > one.late_s >= 0 for one in sent)


def test_answers_of_another_class_are_wrong(server: servers.Server) -> None:
    assert [one.right for one in _sent(server, "blue")] == [False] * 4


def test_a_refused_connection_is_wrong(server: servers.Server) -> None:
    assert [one.right for one in _sent(server, "red", port=1)] == [False] * 4
