"""Errors of test hosts; exit code 2 means invalid input, 1 means a failure."""

from __future__ import annotations

from typing import ClassVar

from mms_server.core.errors import ConfError, MMSError


class TestHostError(MMSError):
    """Something on this machine or in a host failed."""

    __test__: ClassVar[bool] = False  # for pytest: this class is not a test
    exit_code: ClassVar[int] = 1


class InputError(MMSError):
    """The arguments of the command are not valid."""


class InventoryError(ConfError):
    """The inventory is not valid; ``line`` is 0 if YAML gives none."""


class CommandError(TestHostError):
    """A program failed or took too long; ``output`` is its output."""

    def __init__(self, argv: list[str], outcome: str, output: str, *, fix: str = "") -> None:
        self.argv = argv
        self.output = output
        last = "\n".join(output.strip().splitlines()[-15:])
        said = f"; its output:\n{last}" if last else "."
        super().__init__(f"`{' '.join(argv)}` {outcome}{said}", fix=fix)


class BusyError(TestHostError):
    """A resource is held by another running process; ``owner`` describes it."""

    def __init__(self, what: str, owner: str, *, fix: str) -> None:
        self.what = what
        self.owner = owner
        super().__init__(f"{what} is in use by {owner}.", fix=fix)
