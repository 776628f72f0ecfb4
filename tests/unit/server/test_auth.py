"""API keys: a file of digests, several valid keys at once, read again when it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mms_server.core.errors import ConfError, MMSError
from mms_server.server import auth

# The same in every process: they are in the names of tests.
ONE, TWO = "1" * 43, "2" * 43


def line(key: str, name: str) -> str:
    return f"{auth.digest(key)} {name}\n"


def write(file: Path, text: str) -> None:
    # As Ansible writes: a new file replaces the old one.
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_a_new_key_has_256_random_bits() -> None:
    keys = {auth.new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {43}


def test_several_keys_are_valid_at_once_and_a_change_takes_effect_at_once(tmp_path: Path) -> None:
    file = tmp_path / "api_keys"
    write(file, f"# comment\n\n{line(ONE, 'old')}")
    ring = auth.KeyRing(file)
    assert (ring.owner(ONE), ring.owner(TWO)) == ("old", None)
    write(file, line(ONE, "old") + line(TWO, "new"))
    assert (ring.owner(ONE), ring.owner(TWO)) == ("old", "new")
    write(file, line(TWO, "new"))
    assert (ring.owner(ONE), ring.owner(TWO)) == (None, "new")


@pytest.mark.parametrize("key", ["", " ", ONE + "x", ONE[:-1], "x" * 1000, "\udcff"])
def test_an_invalid_key_has_no_owner(tmp_path: Path, key: str) -> None:
    file = tmp_path / "api_keys"
    write(file, line(ONE, "a") + line("", "empty"))
    assert auth.KeyRing(file).owner(key) is None


def test_without_a_file_no_key_is_valid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ring = auth.KeyRing(tmp_path / "none")
    assert [ring.owner(ONE) for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1


def test_after_a_file_turns_invalid_earlier_keys_stay_valid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "api_keys"
    write(file, line(ONE, "a"))
    ring = auth.KeyRing(file)
    assert ring.owner(ONE) == "a"
    write(file, line(ONE, "a") + f"{TWO} b\n")
    assert [ring.owner(ONE), ring.owner(TWO)] == ["a", None]
    assert len(caplog.records) == 1
    # A key that was written in place of its digest must not appear in the journal.
    assert TWO not in caplog.text
    file.unlink()
    assert ring.owner(ONE) == "a"


def test_only_a_file_that_changed_is_read(tmp_path: Path) -> None:
    file = tmp_path / "api_keys"
    write(file, line(ONE, "a"))
    ring = auth.KeyRing(file)
    assert ring.owner(ONE) == "a"
    status = file.stat()
    file.write_text(line(TWO, "a"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert ring.owner(ONE) == "a"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (f"{auth.digest(ONE).upper()} a\n", 1),
        (f"{auth.digest(ONE)}\n", 1),
        (f"{line(ONE, 'a')}{line(ONE, 'b')}", 2),
        (f"{line(ONE, 'a')}{line(TWO, 'a')}", 2),
        (f"{line(ONE, 'a b')}", 1),
        (f"{line(ONE, 'a/b')}", 1),
    ],
)
def test_a_bad_line_is_named(text: str, number: int) -> None:
    with pytest.raises(ConfError) as caught:
        auth.parse(text, Path("keys"))
    assert caught.value.line == number
    assert caught.value.fix


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"HTTP_AUTHORIZATION": "Bearer abc"}, "abc"),
        ({"HTTP_AUTHORIZATION": "bearer  abc "}, "abc"),
        ({"HTTP_AUTHORIZATION": "Basic abc"}, ""),
        ({"HTTP_AUTHORIZATION": "Basic abc", "HTTP_X_API_KEY": "d"}, "d"),
        ({"HTTP_X_API_KEY": " d "}, "d"),
        ({}, ""),
    ],
)
def test_the_headers_that_carry_a_key(headers: dict[str, str], key: str) -> None:
    assert auth.key_of_request(headers) == key


def test_names() -> None:
    assert auth.check_name("a" * 64) == "a" * 64
    for bad in ("a" * 65, "", "-a", "a b"):
        with pytest.raises(MMSError, match="cannot name a key"):
            auth.check_name(bad)
