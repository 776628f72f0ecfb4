"""``mms plan``."""

from __future__ import annotations

from tests.fixtures.command_line import MmsCommand
from tests.fixtures.fake_host import FakeHost


def test_a_plan_that_is_refused_is_shown_and_ends_with_3(fake: FakeHost, mms: MmsCommand) -> None:
    fake.supervisor.memory = {"a": 180_000_000}
    fake.memory_bytes = 300_000_000
    conf = str(fake.write_conf({"a": "1"}))
    mms.run("apply", "--conf", conf)
    fake.write_conf({"a": "2"})
    code, out, err = mms.run("plan", "--conf", conf)
    assert code == 3
    assert "with a gap" in out
    assert "memory: 172 MiB in use, at most" in out
    assert "risk: model a: no golden samples" in out
    assert "Nothing was changed; `mms apply`" not in out
    assert "model a: it does not fit beside what is loaded" in err
    code, answer = mms.json("plan", "--conf", conf)
    assert (code, answer["gap"], answer["error"]["where"]) == (3, ["a"], "model a")
    assert mms.run("apply", "--conf", conf)[0] == 3
    assert mms.run("plan", "--conf", conf, "--allow-gap")[0] == 0
    code, out, _err = mms.run("apply", "--conf", conf, "--allow-gap")
    assert (code, "gap of 0.0 s" in out) == (0, True)
