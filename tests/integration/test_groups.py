"""A group of models on a host: one release in the sandbox; its models change together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import lab
from tests.fixtures import bad_models
from tests.integration import changes
from tests.integration.load import Load, Request

pytestmark = pytest.mark.fleet

SETTINGS = """
--workers
1

[Model Settings]
digits.group=small
words.group=small
"""


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_group_changes_as_one_and_loses_no_request(last: lab.Machine, tmp_path: Path) -> None:
    plain = changes.variant(tmp_path / "plain.model", lambda _members: None)
    words = changes.variant(tmp_path / "words.model", changes.in_words)
    together = changes.put(last, "together", {"digits": plain, "words": plain}, SETTINGS)
    changed = changes.put(last, "changed", {"digits": plain, "words": words}, SETTINGS)
    apart = changes.put(last, "apart", {"digits": plain, "words": words}, "--workers\n1\n")

    changes.applied(last, together)
    first = changes.releases(last)
    assert first["digits"] == first["words"]
    assert first["words"].startswith("small.")
    assert "group small: its 2 models share processes" in lab.on(last, "mms status")
    digits = Request.of_image(last.address, "digits", lab.SEVEN, "7")
    other = Request.of_image(last.address, "words", lab.SEVEN, changes.a_seven)
    with Load([digits, other]) as load:
        load.wait_for_answers(40)
        changes.applied(last, changed)
        load.wait_for_answers(40)
        changes.applied(last, apart)
        load.wait_for_answers(40)
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report
    assert lab.predict(last, model="words")["class"] == "seven"
    assert set(changes.releases(last).values()).isdisjoint(first.values())

    # A model that does not load is named, and its group is not served.
    bad = bad_models.build("load-exit", tmp_path)
    settings = f"{SETTINGS}bad.group=small\n"
    done = changes.apply(
        last, changes.put(last, "bad", {"digits": plain, "words": plain, "bad": bad}, settings)
    )
    assert done.returncode == 4
    assert "model small, step load" in done.stderr
    assert "does not load model bad" in done.stderr
    assert lab.predict(last, model="words")["class"] == "seven"
