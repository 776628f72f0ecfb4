"""``mms-fleet``: runs, notes and a host that comes to what is approved."""

from __future__ import annotations

from mms_server.fleet import content_store, publication, reconcile
from mms_server.fleet.shared_paths import Share
from tests.fixtures.command_line import FleetCommand
from tests.fixtures.fake_host import FakeHost, write_archive
from tests.fixtures.shares import publish

BEGIN = ["begin", "--owner", "ann", "--controller", "c", "--process", "7", "--purpose", "update"]


def test_a_run_from_its_begin_to_its_end(mms_fleet: FleetCommand, share: Share) -> None:
    assert mms_fleet(*BEGIN, "--run", "r")[0] == 0
    code, refused = mms_fleet(*BEGIN, "--run", "other")
    assert (code, refused["holder"]["run"]) == (3, "r")
    source = write_archive(share.root.parent / "new" / "a.model", "1")
    conf = source.with_name("mms.conf")
    conf.write_text("[MMS Arguments]\n--models\na=a.model\n")
    digests = [content_store.keep(share.contents, each) for each in (conf, source)]
    spec = {"conf": digests[0], "places": {"a.model": digests[1]}}
    code, planned = mms_fleet("publish", "--run", "r", "--check", given=spec)
    assert (code, planned["changed"], share.conf.exists()) == (0, True, False)
    code, done = mms_fleet("publish", "--run", "r", given=spec)
    assert (code, done["changed"], done["number"]) == (0, True, 1)
    code, done = mms_fleet("publish", "--run", "r", given=spec)
    assert (code, done["changed"]) == (0, False)
    record = {"who": "ann", "what": "update", "result": "done"}
    assert mms_fleet("end", "--run", "r", "--approve", given=record) == (
        0,
        {"changed": True, "approved": 1},
    )
    code, shown = mms_fleet("journal")
    assert shown["records"][0]["who"] == "ann"
    code, state = mms_fleet("state")
    assert (state["lease"], state["approved"], state["current"]) == (None, 1, 1)


def test_without_the_lease_nothing_is_published(mms_fleet: FleetCommand, share: Share) -> None:
    code, answer = mms_fleet("publish", "--run", "r", given={"conf": "0" * 64, "places": {}})
    assert code == 3
    assert "nobody has it" in answer["error"]["cause"]
    assert not share.conf.exists()


def test_restoring_goes_back_to_the_approved_one_or_before(
    mms_fleet: FleetCommand, share: Share
) -> None:
    for weights in ("1", "2"):
        publication.approve(share, publish(share, weights))
    publish(share, "3")
    mms_fleet(*BEGIN, "--run", "r")
    begun = mms_fleet("restore", "--run", "r", "--earlier", "--check")[1]
    assert (begun["number"], begun["why"]) == (2, "publication 3 was not brought to an end")
    assert mms_fleet("restore", "--run", "r")[1]["number"] == 2
    assert mms_fleet("restore", "--run", "r", "--earlier", "--check")[1]["number"] == 1
    assert publication.linked(share.current) == 2
    assert mms_fleet("restore", "--run", "r", "--earlier")[1]["number"] == 1
    # Interrupted here, it goes on to the same one; so does a second run.
    assert mms_fleet("restore", "--run", "r", "--earlier")[1]["number"] == 1
    publication.approve(share, 1)
    again = mms_fleet("restore", "--run", "r", "--earlier")[1]
    assert (again["number"], again["changed"]) == (1, False)
    assert "publication 2 is rolled back already; -e mms_publication=N" in again["why"]
    assert mms_fleet("restore", "--run", "r", "--to", "3")[1]["number"] == 3
    code, answer = mms_fleet("restore", "--run", "r", "--to", "9")
    assert code == 2
    assert "there are: 3, 2, 1" in answer["error"]["cause"]


def test_a_note_marks_the_host(mms_fleet: FleetCommand, fake: FakeHost) -> None:
    assert mms_fleet("note", "--number", "4", given={"what": "update"}) == (0, {"changed": True})
    assert mms_fleet("note", "--number", "4") == (0, {"changed": False})
    assert reconcile.marked(fake.layout) == 4
    assert '"what": "update"' in fake.layout.journal.read_text()


def test_heal_waits_without_an_error(mms_fleet: FleetCommand) -> None:
    code, answer = mms_fleet("heal")
    assert (code, answer["changed"]) == (0, False)
