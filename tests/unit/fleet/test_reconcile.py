"""A host comes by itself to what is approved, and to nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.fleet import lease, publication, reconcile
from mms_server.fleet.lease import Claim
from mms_server.fleet.reconcile import MixedShareError
from mms_server.fleet.shared_paths import Share
from tests.fixtures.fake_host import FakeHost, write_archive
from tests.fixtures.shares import NOW, publish


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path / "share")


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
