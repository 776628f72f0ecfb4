"""What is published is whole, can be put back, and survives a kill at any step."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mms_server.core.errors import MMSError
from mms_server.fleet import content_store, publication
from mms_server.fleet.shared_paths import Share

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONF = "[MMS Arguments]\n--models\na=a.model b=b.model\n"


class Killed(BaseException):
    """Stands for kill -9."""


def given(share: Share, text: str) -> str:
    """Put a content on the share, as the playbook's copy does; return its digest."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    share.contents.mkdir(parents=True, exist_ok=True)
    (share.contents / digest).write_text(text)
    return digest


def publish(share: Share, conf: str = CONF, **models: str) -> publication.Published:
    places = {f"{name}.model": given(share, text) for name, text in models.items()}
    return publication.publish(share, given(share, conf), places, "me", NOW)


def lies(share: Share) -> dict[str, str]:
    return {path.name: path.read_text() for path in share.root.iterdir() if path.is_file()}


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path)


def test_the_names_hold_what_was_published_and_can_be_put_back(share: Share) -> None:
    first = publish(share, a="a1", b="b1")
    assert (first.number, first.made) == (1, True)
    second = publish(share, a="a2", b="b1")
    assert second.number == 2
    assert second.changed == ("a.model",)
    assert lies(share) == {"a.model": "a2", "b.model": "b1", "mms.conf": CONF}
    assert publication.switch(share, publication.load(share, 1)) == ("a.model",)
    assert lies(share)["a.model"] == "a1"
    assert publication.linked(share.current) == 1


def test_publishing_the_same_again_changes_nothing(share: Share) -> None:
    publish(share, a="a1", b="b1")
    again = publish(share, a="a1", b="b1")
    assert (again.number, again.changed, again.made) == (1, (), False)
    # Also when the controller has nothing but the file.
    again = publish(share)
    assert (again.number, again.changed, again.made) == (1, (), False)


def test_what_lay_there_before_the_first_publication_can_be_put_back(share: Share) -> None:
    share.root.joinpath("a.model").write_text("old a")
    share.root.joinpath("b.model").write_text("old b")
    share.conf.write_text(CONF)
    assert publish(share, a="a1").number == 2
    assert publication.linked(share.approved) == 1
    publication.switch(share, publication.load(share, 1))
    assert lies(share) == {"a.model": "old a", "b.model": "old b", "mms.conf": CONF}


def test_a_broken_file_from_before_is_not_in_the_way(share: Share) -> None:
    share.conf.write_text("--models\n")
    assert publish(share, a="a1", b="b1").number == 1


def test_samples_come_and_go_with_their_archive(share: Share) -> None:
    samples = share.root.parent / f"{share.root.name}-samples"
    samples.mkdir()
    (samples / "golden.json").write_text("[]")
    digest = content_store.keep(share.contents, samples)
    places = {"a.model": given(share, "a1"), "a.model.golden": digest, "b.model": given(share, "b")}
    publication.publish(share, given(share, CONF), places, "me", NOW)
    assert (share.root / "a.model.golden" / "golden.json").read_text() == "[]"
    places["a.model.golden"] = content_store.NOTHING
    done = publication.publish(share, given(share, CONF), places, "me", NOW)
    assert done.changed == ("a.model.golden",)
    assert not (share.root / "a.model.golden").exists()
    publication.switch(share, publication.load(share, 1))
    assert (share.root / "a.model.golden" / "golden.json").exists()


def test_writing_onto_a_name_in_place_does_not_spoil_what_is_kept(share: Share) -> None:
    publish(share, a="a1", b="b1")
    (share.root / "a.model").write_text("by hand")
    kept = publication.load(share, 1)
    assert publication.differences(share, kept) == ["a.model"]
    publication.switch(share, kept)
    assert lies(share)["a.model"] == "a1"


def test_a_content_that_was_not_copied_whole_is_refused_and_copied_again(share: Share) -> None:
    publish(share, a="a1", b="b1")
    digest = given(share, "a2")
    (share.contents / digest).write_text("a")
    with pytest.raises(MMSError, match="was not copied whole"):
        publication.publish(share, given(share, CONF), {"a.model": digest}, "me", NOW)
    assert not (share.contents / digest).exists()
    assert lies(share)["a.model"] == "a1"


@pytest.mark.parametrize(
    ("conf", "places", "cause"),
    [
        (CONF, {"c.model": "c"}, "does not name c.model"),
        (CONF, {"../c.model": "c"}, "does not name"),
        ("[MMS Arguments]\n", {}, "models"),
        ("[MMS Arguments]\n--models\na=gone.model\n", {}, "gone.model, which is not there"),
    ],
)
def test_what_makes_no_sense_is_refused(
    share: Share, conf: str, places: dict[str, str], cause: str
) -> None:
    publish(share, a="a1", b="b1")
    before = lies(share)
    wanted = {place: given(share, text) for place, text in places.items()}
    with pytest.raises(MMSError, match=cause):
        publication.publish(share, given(share, conf), wanted, "me", NOW)
    assert lies(share) == before


def test_archives_that_are_not_on_the_share_are_none_of_its_places(share: Share) -> None:
    text = "[MMS Arguments]\n--models\na=/srv/a.model b=https://h/b.model c=sub/../c.model\n"
    assert publication.places_of(text, share) == ["c.model.golden", "c.model"]


def kill_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    left = [count]
    for name in ("rename", "replace", "symlink_to", "unlink"):
        original = getattr(Path, name)

        def act(self: Path, *words: object, _original: object = original, **more: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return _original(self, *words, **more)  # type: ignore[operator]

        monkeypatch.setattr(Path, name, act)


@pytest.mark.parametrize("count", range(24))
def test_killed_at_any_step_it_is_completed_by_running_again(
    share: Share, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    publish(share, a="a1", b="b1")
    publication.approve(share, 1)
    with monkeypatch.context() as patched:
        kill_at(patched, count)
        with contextlib.suppress(Killed):
            publish(share, a="a2", b="b2")
    # Whoever reads mms.conf finds whole archives at any time.
    assert lies(share)["a.model"] in ("a1", "a2")
    done = publish(share, a="a2", b="b2")
    assert done.number == 2
    assert publication.linked(share.current) == 2
    found = {name: text for name, text in lies(share).items() if not name.startswith(".")}
    assert found == {"a.model": "a2", "b.model": "b2", "mms.conf": CONF}
    publication.switch(share, publication.load(share, 1))
    assert lies(share)["b.model"] == "b1"


def test_old_publications_go_but_not_the_current_and_the_approved_one(share: Share) -> None:
    for number in range(5):
        publish(share, a=f"a{number}", b="b")
    publication.approve(share, 1)
    publication.switch(share, publication.load(share, 3))
    assert publication.prune(share, 1) == [4, 2]
    assert publication.numbers(share) == [5, 3, 1]
    kept = {path.read_text() for path in share.contents.iterdir()}
    assert kept == {"a0", "a2", "a4", "b", CONF}


def test_the_one_before_is_one_that_the_fleet_served(share: Share) -> None:
    for number in range(1, 5):
        publish(share, a=f"a{number}", b="b")
        if number != 3:  # it failed, and was put back
            publication.approve(share, number)
    assert publication.before(share, 4) == 2
    assert publication.before(share, 2) == 1
    assert publication.before(share, 1) is None


def test_an_unknown_number_is_refused_with_those_that_there_are(share: Share) -> None:
    publish(share, a="a1", b="b1")
    with pytest.raises(MMSError, match="no publication 7; there are: 1"):
        publication.load(share, 7)
