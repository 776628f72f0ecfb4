"""What can go wrong with test hosts; exit code 2 means bad input, 1 means that something failed."""

from __future__ import annotations

from typing import ClassVar

from mms_server.core.errors import ConfError, MMSError


class TestHostError(MMSError):
    """Something on this machine, or in a host, did not do what it should."""

    __test__: ClassVar[bool] = False  # pytest: not a test, for all its name
    exit_code: ClassVar[int] = 1


class InputError(MMSError):
    """The command was asked for something that makes no sense."""


class InventoryError(ConfError):
    """The inventory cannot be used; ``line`` is 0 where YAML gives none."""


class CommandError(TestHostError):
    """A program failed or took too long; ``output`` is what it said."""

    def __init__(self, argv: list[str], outcome: str, output: str, *, fix: str = "") -> None:
        self.argv = argv
        self.output = output
        last = "\n".join(output.strip().splitlines()[-15:])
        said = f"; it said:\n{last}" if last else "."
        super().__init__(f"`{' '.join(argv)}` {outcome}{said}", fix=fix)


class BusyError(TestHostError):
    """Something else that is alive holds what is needed; ``owner`` says who."""

    def __init__(self, what: str, owner: str, *, fix: str) -> None:
        self.what = what
        self.owner = owner
        super().__init__(f"{what} is in use by {owner}.", fix=fix)
