"""A host comes by itself to what is approved, and to nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mms_server.cli import fleet_cmds
from mms_server.fleet import content_store, lease, publication, reconcile
from mms_server.fleet.lease import Claim
from mms_server.fleet.reconcile import MixedShareError
from mms_server.fleet.shared_paths import Share
from tests.fixtures.fake_host import FakeHost, write_archive

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path / "share")


def publish(share: Share, weights: str) -> int:
    source = write_archive(share.root.parent / "new" / "a.model", weights)
    conf = source.with_name("mms.conf")
    conf.write_text("[MMS Arguments]\n--models\na=a.model\n")
    digests = [content_store.keep(share.contents, each) for each in (conf, source)]
    return publication.publish(share, digests[0], {"a.model": digests[1]}, "me", NOW).number


def test_what_is_approved_is_applied_once(fake: FakeHost, share: Share) -> None:
    publication.approve(share, publish(share, "1"))
    assert reconcile.judge(share, fake.layout, NOW).number == 1
    assert reconcile.mark(fake.layout, 1)
    assert not reconcile.mark(fake.layout, 1)
    judged = reconcile.judge(share, fake.layout, NOW)
    assert (judged.number, judged.why) == (None, "Nothing to do: this host has been brought to 1.")


def test_nothing_is_done_before_an_approval(fake: FakeHost, share: Share) -> None:
    assert reconcile.judge(share, fake.layout, NOW).number is None
    publish(share, "1")
    assert reconcile.judge(share, fake.layout, NOW).number is None


def test_a_publication_that_was_not_finished_is_left_alone(fake: FakeHost, share: Share) -> None:
    publication.approve(share, publish(share, "1"))
    publish(share, "2")
    judged = reconcile.judge(share, fake.layout, NOW)
    assert judged.number is None
    assert "publication 2 is on the share, but 1 is approved" in judged.why


def test_a_run_and_a_hold_are_waited_for(fake: FakeHost, share: Share) -> None:
    publication.approve(share, publish(share, "1"))
    lease.take(share, Claim("r", "ann", "c", "7", "update"), NOW, 60)
    assert "ann@c" in reconcile.judge(share, fake.layout, NOW).why
    lease.give_back(share, "r")
    reconcile.hold(share, "moving house")
    judged = reconcile.judge(share, fake.layout, NOW)
    assert (judged.number, judged.why) == (None, "Waits: the fleet is held: moving house")
    assert reconcile.resume(share)
    assert not reconcile.resume(share)
    assert reconcile.judge(share, fake.layout, NOW).number == 1


def test_files_changed_by_hand_are_not_applied(fake: FakeHost, share: Share) -> None:
    publication.approve(share, publish(share, "1"))
    write_archive(share.root / "a.model", "by hand")
    with pytest.raises(MixedShareError, match=r"a\.model on the share: not what publication 1"):
        reconcile.judge(share, fake.layout, NOW)


class Command:
    """Runs ``mms-fleet`` on a fake host."""

    def __init__(
        self, fake: FakeHost, share: Share, capsys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._fake, self._share, self._capsys, self._patch = fake, share, capsys, monkeypatch
        fake.layout.etc.mkdir(parents=True)
        text = f'workers = 1\nruntime = "{fake.settings.runtime}"\n'
        (fake.layout.etc / "mms.toml").write_text(text)

    def __call__(self, *words: str, given: Any = None) -> tuple[int, Any]:
        root = ["--layout-root", str(self._fake.root)]
        self._patch.setattr(fleet_cmds, "_input", lambda: given or {})
        argv = [*root, *words, "--json", "--share", str(self._share.root)]
        code = fleet_cmds.main(argv, self._fake.supervisor)
        return code, json.loads(self._capsys.readouterr().out)


@pytest.fixture
def command(fake: FakeHost, share: Share, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(fake, share, capsys, monkeypatch)


BEGIN = ["begin", "--owner", "ann", "--controller", "c", "--process", "7", "--purpose", "update"]


def test_a_run_from_its_begin_to_its_end(command: Command, share: Share) -> None:
    assert command(*BEGIN, "--run", "r")[0] == 0
    code, refused = command(*BEGIN, "--run", "other")
    assert (code, refused["holder"]["run"]) == (3, "r")
    source = write_archive(share.root.parent / "new" / "a.model", "1")
    conf = source.with_name("mms.conf")
    conf.write_text("[MMS Arguments]\n--models\na=a.model\n")
    digests = [content_store.keep(share.contents, each) for each in (conf, source)]
    spec = {"conf": digests[0], "places": {"a.model": digests[1]}}
    code, planned = command("publish", "--run", "r", "--check", given=spec)
    assert (code, planned["changed"], share.conf.exists()) == (0, True, False)
    code, done = command("publish", "--run", "r", given=spec)
    assert (code, done["changed"], done["number"]) == (0, True, 1)
    code, done = command("publish", "--run", "r", given=spec)
    assert (code, done["changed"]) == (0, False)
    record = {"who": "ann", "what": "update", "result": "done"}
    assert command("end", "--run", "r", "--approve", given=record) == (
        0,
        {"changed": True, "approved": 1},
    )
    code, shown = command("journal")
    assert shown["records"][0]["who"] == "ann"
    code, state = command("state")
    assert (state["lease"], state["approved"], state["current"]) == (None, 1, 1)


def test_without_the_lease_nothing_is_published(command: Command, share: Share) -> None:
    code, answer = command("publish", "--run", "r", given={"conf": "0" * 64, "places": {}})
    assert code == 3
    assert "nobody has it" in answer["error"]["cause"]
    assert not share.conf.exists()


def test_restoring_goes_back_to_the_approved_one_or_before(command: Command, share: Share) -> None:
    for weights in ("1", "2"):
        publication.approve(share, publish(share, weights))
    publish(share, "3")
    command(*BEGIN, "--run", "r")
    begun = command("restore", "--run", "r", "--earlier", "--check")[1]
    assert (begun["number"], begun["why"]) == (2, "publication 3 was not brought to an end")
    assert command("restore", "--run", "r")[1]["number"] == 2
    assert command("restore", "--run", "r", "--earlier", "--check")[1]["number"] == 1
    assert publication.linked(share.current) == 2
    assert command("restore", "--run", "r", "--earlier")[1]["number"] == 1
    # Interrupted here, it goes on to the same one; so does a second run.
    assert command("restore", "--run", "r", "--earlier")[1]["number"] == 1
    publication.approve(share, 1)
    again = command("restore", "--run", "r", "--earlier")[1]
    assert (again["number"], again["changed"]) == (1, False)
    assert "publication 2 is rolled back already; -e mms_publication=N" in again["why"]
    assert command("restore", "--run", "r", "--to", "3")[1]["number"] == 3
    code, answer = command("restore", "--run", "r", "--to", "9")
    assert code == 2
    assert "there are: 3, 2, 1" in answer["error"]["cause"]


def test_a_note_marks_the_host(command: Command, fake: FakeHost) -> None:
    assert command("note", "--number", "4", given={"what": "update"}) == (0, {"changed": True})
    assert command("note", "--number", "4") == (0, {"changed": False})
    assert reconcile.marked(fake.layout) == 4
    assert '"what": "update"' in fake.layout.journal.read_text()


def test_heal_waits_without_an_error(command: Command) -> None:
    code, answer = command("heal")
    assert (code, answer["changed"]) == (0, False)
