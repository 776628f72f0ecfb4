"""One emulator for all tests; each starts with an empty account."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.aws.account import Account


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    account = Account.start(tmp_path_factory.mktemp("emulator"))
    yield account
    account.stop()
