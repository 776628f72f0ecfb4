"""The order of the tests on hosts, and the tests that only `make soak` runs."""

from __future__ import annotations

import os

import pytest

# The longest files on hosts. They begin first, so that two workers end at about the same time.
LONGEST = ("test_bad_models.py", "test_life.py", "test_interrupted.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files on hosts first; skip tests marked `soak` outside of `make soak`."""
    items.sort(
        key=lambda item: not (item.path.parent.name == "integration" and item.path.name in LONGEST)
    )
    if os.environ.get("MMS_SOAK") == "1":
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="part of `make soak`"))
