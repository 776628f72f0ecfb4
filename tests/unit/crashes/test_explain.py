"""Deaths told to people and to clients: in words, by request, and as a model's trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.crashes import crash_history, explain, start_history
from mms_server.crashes.crash_history import CrashHistory
from mms_server.crashes.lookup import WAIT_S, Lookup, trouble
from mms_server.crashes.start_history import StartHistory
from mms_server.host import generations
from mms_server.host.generations import Generation
from tests.fixtures.crash_reports import DIGEST, RELEASE, certificate, instance_files


def keep(root: Path, *rows: object) -> Layout:
    layout = Layout.under(root)
    layout.deaths.mkdir(parents=True)
    for row in rows:
        (layout.deaths / f"{row.id}.json").write_text(row.to_json())  # type: ignore[attr-defined]
    return layout


def test_every_name_finds_it_and_the_newest_is_first(tmp_path: Path) -> None:
    old, new = certificate(1.8e9), certificate(1.8e9 + 1)
    layout = keep(tmp_path, new, old)
    for name in (RELEASE, "digits", "id-1"):
        assert explain.find(layout, name) == [new, old]
    assert explain.find(layout, old.id) == [old]
    assert explain.find(layout, "other") == []
    assert explain.find(Layout.under(tmp_path / "bare"), "digits") == []


def test_a_model_has_the_deaths_of_its_group_and_none_less_when_much_is_broken(
    tmp_path: Path,
) -> None:
    death = certificate(1.8e9)
    layout = keep(tmp_path, death)
    models = {"member": RELEASE}
    generations.write(layout, Generation(1, "2026-01-01T00:00:00+00:00", "me", "mms.conf", models))
    assert explain.find(layout, "member") == [death]
    (layout.generations / "2.json").write_text("half")
    with pytest.raises(MMSError):
        generations.newest(layout)
    assert explain.find(layout, "digits") == [death]


def test_words_name_cause_request_memory_and_place() -> None:
    row = certificate(
        stack='File "x.py", line 1\nFile "y.py"', log=("said",), refused=DIGEST,
        replay="/var/lib/mms/quarantine/x", peak_bytes=3 * 2**20, resident_bytes=2**20,
    )  # fmt: skip
    text = explain.text("digits", [row])
    for words in (
        row.id, "a signal ended it (SIGSEGV)", "id-1, computed for 0.5 s", DIGEST,
        "3 MiB at most, 1 MiB when the request began", "422", "/var/lib/mms/quarantine/x",
        "said", 'line 1\n            File "y.py"',
    ):  # fmt: skip
        assert words in text
    assert "too large to keep" in explain.text("x", [certificate(refused=DIGEST)])


def test_many_are_shortened_and_none_is_said() -> None:
    text = explain.text("digits", [certificate() for _ in range(7)])
    assert text.count("  cause ") == 5
    assert "2 older ones: `mms why digits --json`" in text
    assert "No process died under the name x" in explain.text("x", [])


def test_a_terminal_is_not_told_what_to_do() -> None:
    assert "\x1b" not in explain.text("x", [certificate(log=("\x1b[2J\x07",))])


def test_a_client_waits_for_its_certificate_and_not_for_ever(tmp_path: Path) -> None:
    made, slept = certificate(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            crash_history.write(instance_files(tmp_path).recent, CrashHistory().after(made))

    clock = lambda: sum(slept)  # noqa: E731
    lookup = Lookup(Layout.under(tmp_path), sleep, clock)
    assert lookup.certificate("id-1") == made.id
    assert len(slept) == 3
    slept.clear()
    assert lookup.certificate("id-2") == ""
    assert WAIT_S <= sum(slept) < WAIT_S + 0.1
    assert lookup.certificate("") == ""


def test_trouble_is_told_while_it_lasts(tmp_path: Path) -> None:
    layout, now = Layout.under(tmp_path), 1.8e9
    assert trouble(layout, RELEASE, now) == ""
    start_history.write(instance_files(tmp_path).starts, StartHistory(3, now - 2, next=now + 2))
    assert trouble(layout, RELEASE, now) == (
        "crash loop: 3 starts in a row failed, the next goes on in 2 s"
    )
    start_history.write(instance_files(tmp_path).starts, StartHistory(3, now - 2, ready=now - 1))
    assert trouble(layout, RELEASE, now) == ""
    made = certificate()
    known = CrashHistory().after(made)
    crash_history.write(
        instance_files(tmp_path).recent, CrashHistory(known.deaths, known.digests, now + 8)
    )
    assert trouble(layout, RELEASE, now) == (
        f"crash loop: its workers die early, the last of SIGSEGV ({made.id}); "
        "the next starts in 8 s"
    )
    assert trouble(layout, RELEASE, now + 8) == ""
