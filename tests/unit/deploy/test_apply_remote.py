"""Apply with remote archives: they are downloaded and checked; a bad one changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mms_server.core.errors import ConfError, FetchError
from mms_server.deploy import apply as engine
from tests.fixtures.fake_host import FakeHost, write_archive


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    directory = tmp_path / "web"
    directory.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(directory))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield directory, f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def served(fake: FakeHost, web: tuple[Path, str]) -> tuple[FakeHost, Path, Path]:
    """Return a host, the mms.conf that names a remote archive, and the archive."""
    directory, place = web
    fake.settings = replace(fake.settings, fetch_allow=place, fetch_timeout_s=5)
    archive = write_archive(directory / "a.model", "one")
    conf = fake.root / "efs/mms.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(f"[MMS Arguments]\n--models\na=http://{place}/a.model?sig=x=\n")
    return fake, conf, archive


def test_changed_content_under_the_same_name_is_served(
    served: tuple[FakeHost, Path, Path],
) -> None:
    fake, conf, archive = served
    outcome = engine.apply(fake.host, conf)
    assert fake.served() == {"a": "one"}
    assert any("plain http" in text and "#sha256=" in text for text in outcome.warnings)
    assert not engine.apply(fake.host, conf).changed
    write_archive(archive, "two")
    # Last-Modified has a resolution of one second.
    os.utime(archive, (archive.stat().st_mtime + 2,) * 2)
    assert engine.plan(fake.host, conf).changed
    assert engine.apply(fake.host, conf).changed
    assert fake.served() == {"a": "two"}
    fake.check_settled({"a": "two"})
    assert not list(fake.layout.fetched.glob("*.archive"))


def test_a_file_that_changed_since_the_plan_is_identified_by_its_content(
    served: tuple[FakeHost, Path, Path],
) -> None:
    fake, conf, _archive = served
    engine.plan(fake.host, conf)
    (fetched,) = fake.layout.fetched.glob("*.archive")
    write_archive(fetched, "other")
    engine.apply(fake.host, conf)
    fake.check_settled({"a": "other"})


def test_the_query_is_shown_nowhere(served: tuple[FakeHost, Path, Path]) -> None:
    fake, conf, archive = served
    archive.unlink()
    with pytest.raises(ConfError, match="the server answers 404") as caught:
        engine.apply(fake.host, conf)
    assert caught.value.line == 3
    assert "sig=x" not in str(caught.value)
    assert not any("sig=x" in text for text in fake.reports)


def test_an_unreachable_server_changes_nothing(
    served: tuple[FakeHost, Path, Path],
) -> None:
    fake, conf, _archive = served
    engine.apply(fake.host, conf)
    conf.write_text("[MMS Arguments]\n--models\na=http://127.0.0.1:9/a.model\n")
    fake.settings = replace(fake.settings, fetch_allow="127.0.0.1", fetch_timeout_s=1)
    with pytest.raises(FetchError, match=r"not fetched in 1 s") as caught:
        engine.apply(fake.host, conf)
    assert str(caught.value).startswith(f"{conf}:3: ")
    assert caught.value.exit_code == 4
    assert fake.served() == {"a": "one"}


def test_a_url_that_the_policy_refuses_names_the_line_and_the_setting(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    conf.write_text("[MMS Arguments]\n--models\na=http://127.0.0.1/a.model\n")
    with pytest.raises(ConfError, match="which is not a public address") as caught:
        engine.apply(fake.host, conf)
    assert caught.value.line == 3
    assert "fetch_allow" in str(caught.value)


def test_a_pin_is_checked_for_a_path_as_well(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    pin = "0" * 64
    conf.write_text(f"[MMS Arguments]\n--models\na=a.model#sha256={pin}\n")
    with pytest.raises(ConfError, match=f"not the pinned {pin}"):
        engine.apply(fake.host, conf)
    assert not fake.layout.store.exists()
    digest = fake.host.store.digest(conf.parent / "a.model")
    conf.write_text(f"[MMS Arguments]\n--models\na=a.model#sha256={digest}\n")
    engine.apply(fake.host, conf)
    assert fake.served() == {"a": "1"}
    write_archive(conf.parent / "a.model", "changed behind our back")
    assert not engine.apply(fake.host, conf).changed
