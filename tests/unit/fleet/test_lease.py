"""One run at a time changes the fleet, whatever becomes of the one before."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mms_server.core.errors import MMSError
from mms_server.fleet import lease
from mms_server.fleet.lease import Claim, FleetBusyError, LeaseLostError
from mms_server.fleet.shared_paths import Share

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALID_S = 600.0


def claim(run: str) -> Claim:
    return Claim(run, f"owner-{run}", "laptop", "77", "update")


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_the_second_run_is_refused_with_the_name_of_the_holder(share: Share) -> None:
    lease.take(share, claim("a"), NOW, VALID_S)
    with pytest.raises(FleetBusyError, match=r"owner-a@laptop \(update, process 77, since 2026"):
        lease.take(share, claim("b"), after(1), VALID_S)
    held = lease.held(share, after(1))
    assert held is not None
    assert held.run == "a"


@pytest.mark.parametrize(("seconds", "free"), [(VALID_S - 1, False), (VALID_S, True)])
def test_a_lease_that_is_over_is_free(share: Share, seconds: float, free: bool) -> None:
    lease.take(share, claim("a"), NOW, VALID_S)
    assert (lease.held(share, after(seconds)) is None) is free
    if free:
        assert lease.take(share, claim("b"), after(seconds), VALID_S).run == "b"
    else:
        with pytest.raises(FleetBusyError):
            lease.take(share, claim("b"), after(seconds), VALID_S)


def test_a_dead_run_is_replaced_by_name_only(share: Share) -> None:
    lease.take(share, claim("a"), NOW, VALID_S)
    with pytest.raises(FleetBusyError):
        lease.take(share, claim("b"), after(1), VALID_S, replaces="another")
    lease.take(share, claim("b"), after(1), VALID_S, replaces="a")
    with pytest.raises(LeaseLostError, match="owner-b"):
        lease.renew(share, "a", after(2), VALID_S)


def test_a_renewed_lease_ends_later_and_began_when_it_did(share: Share) -> None:
    first = lease.take(share, claim("a"), NOW, VALID_S)
    again = lease.renew(share, "a", after(500), VALID_S)
    assert again.since == first.since
    assert lease.held(share, after(VALID_S + 1)) is not None


def test_taking_twice_is_renewing(share: Share) -> None:
    first = lease.take(share, claim("a"), NOW, VALID_S)
    assert lease.take(share, claim("a"), after(9), VALID_S).since == first.since


def test_only_the_holder_gives_it_back(share: Share) -> None:
    lease.take(share, claim("a"), NOW, VALID_S)
    lease.give_back(share, "b")
    assert lease.read(share) is not None
    lease.give_back(share, "a")
    assert lease.read(share) is None
    with pytest.raises(LeaseLostError, match="nobody has it"):
        lease.renew(share, "a", NOW, VALID_S)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"run": "a"}'])
def test_a_broken_lease_stops_and_says_what_to_do(share: Share, text: str) -> None:
    share.lease.parent.mkdir()
    share.lease.write_text(text)
    with pytest.raises(MMSError, match="is not a lease") as caught:
        lease.take(share, claim("a"), NOW, VALID_S)
    assert "remove the file" in caught.value.fix


def test_of_many_at_once_one_gets_it(share: Share) -> None:
    won: list[str] = []
    ready = threading.Barrier(8)

    def run(name: str) -> None:
        ready.wait(10)
        try:
            lease.take(share, claim(name), NOW, VALID_S)
        except FleetBusyError:
            return
        won.append(name)

    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(won) == 1
