"""The journal keeps what happened, also after a power cut."""

from __future__ import annotations

from pathlib import Path

from mms_server.fleet import audit_log


def test_records_come_back_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "journal"
    for number in range(5):
        audit_log.append(file, {"number": number})
    assert [each["number"] for each in audit_log.read(file, 3)] == [2, 3, 4]
    assert audit_log.read(file, 0) == []


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    audit_log.append(file, {"number": 1})
    with file.open("a") as stream:
        stream.write('{"numb')
    audit_log.append(file, {"number": 2})
    assert [each["number"] for each in audit_log.read(file, 9)] == [1, 2]


def test_a_journal_that_is_full_goes_on_in_a_new_file(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    line = len('{"number": 1}\n')
    for number in range(3):
        audit_log.append(file, {"number": number}, max_bytes=2 * line)
    assert [each["number"] for each in audit_log.read(file, 9)] == [2]
    assert [each["number"] for each in audit_log.read(tmp_path / "journal.1", 9)] == [0, 1]


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert audit_log.read(tmp_path / "none", 9) == []
