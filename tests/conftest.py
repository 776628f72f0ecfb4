"""What all tests share."""

from __future__ import annotations

import os

import pytest

# The longest files on hosts: begun first, neither of two workers waits long for the other.
LONGEST = ("test_bad_models.py", "test_life.py", "test_interrupted.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest on hosts, and leave what takes very long to `make soak`."""
    items.sort(
        key=lambda item: not (item.path.parent.name == "integration" and item.path.name in LONGEST)
    )
    if os.environ.get("MMS_SOAK") == "1":
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="part of `make soak`"))
