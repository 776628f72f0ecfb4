"""``mms rollback`` and ``mms gc``."""

from __future__ import annotations

from tests.fixtures.command_line import MmsCommand
from tests.fixtures.fake_host import FakeHost


def test_rollback_and_gc(fake: FakeHost, mms: MmsCommand) -> None:
    conf = str(fake.write_conf({"a": "1"}))
    mms.run("apply", "--conf", conf)
    (old,) = fake.serving()
    code, out, _err = mms.run("rollback")
    assert (code, out) == (2, "")
    fake.write_conf({"a": "2"})
    code, applied = mms.json("apply", "--conf", conf)
    assert (code, applied["keep_warm"]) == (0, {old: 50})
    assert f"{old} (50s)" in mms.run("status")[1]
    assert "warm, 50s left" in mms.run("releases")[1]
    code, answer = mms.json("releases")
    assert {row["release"]: row["warm_s"] for row in answer["releases"]}[old] == 50
    code, out, _err = mms.run("rollback", "--check")
    assert code == 0
    assert "keeps warm  a" in out
    assert "Nothing was changed; `mms rollback` does this." in out
    code, back = mms.json("rollback", "--to", "1")
    assert (code, back["generation"], back["seconds"]) == (0, 3, 0)
    assert ", back to generation 1\n" in mms.run("status")[1]
    assert mms.json("status")[1]["restores"] == 1
    assert "generation 1" in mms.run("releases")[1]
    assert mms.run("gc", "--check")[1] == "Nothing to do: all that is here is needed.\n"
    fake.uptime_s += 51
    code, shown = mms.json("gc", "--check")
    assert (code, shown["changed"], len(shown["ended"])) == (0, True, 1)
    assert "`mms gc` removes" in mms.run("gc", "--check")[1]
    assert mms.json("gc")[1] == shown
    assert fake.serving() == [old]
    assert mms.json("gc")[1]["changed"] is False
