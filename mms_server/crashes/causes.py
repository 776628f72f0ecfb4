"""The table of causes of death.

:class:`Cause` is the table: a member is a row, so a cause without words and action cannot exist.
From it follow the text of ``mms why``, the choice of suspected inputs, and the table in
``docs/operations.md``, which ``tools/operations_tables.py`` writes.

The code that recognises a cause is not in the table, because a master knows other facts than
systemd: ``CrashReporter._cause`` does it for a worker, ``_CAUSES`` of ``collector.py`` for a
master. The comment of each member names the places.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Cause(StrEnum):
    """Why a process ended; the values are in certificates, and are labels of metrics.

    ``words`` is the text of ``mms why``, ``action`` the advice in ``docs/operations.md``.
    ``suspects_input`` says whether the request in flight may have caused the death. A worker may
    also be killed by a user, or be only too slow: then its input is not suspected.
    """

    # Worker: reporter.py. Master: collector.py (`oom-kill`, and a SIGKILL that the kernel counts).
    MEMORY = (
        "out-of-memory",
        "the kernel ended it: the release was out of memory",
        "raise `mms_service_memory_max`, or use fewer workers",
        True,
    )
    # Worker: reporter.py (`aborted`). Master: collector.py (`watchdog`).
    HANG = (
        "hang",
        "its heartbeat stopped for longer than the watchdog's limit, and it was ended",
        (
            "no sign of life for `mms_service_watchdog_s`; the stack names the call, for instance"
            " one that never releases the interpreter's lock"
        ),
        True,
    )
    # Worker: reporter.py (`stuck`). Master: collector.py (`timeout`, of its start).
    TIMEOUT = (
        "timeout",
        "a prediction took longer than its time limit, and the process was replaced",
        (
            "a prediction exceeded `predict_timeout_s` (its client got 504), or a start exceeded "
            "its limit"
        ),
        False,
    )
    # Worker: reporter.py. Master: collector.py (`signal`, `core-dump`).
    SIGNAL = (
        "signal",
        "a signal ended it",
        (
            "the stack names the line of the service file, or the engine; reproduce it with the "
            "kept input"
        ),
        True,
    )
    # Worker: reporter.py. Master: collector.py (`exit-code`, and each result that is not known).
    EXIT = (
        "exit",
        "its code ended it",
        (
            "the stack names the line of the service file, or the engine; reproduce it with the "
            "kept input"
        ),
        True,
    )
    # Worker: reporter.py (`stopping`). A master has no such cause.
    STOP = (
        "stop",
        "it did not stop when it was told to, and was ended",
        (
            "the process did not end when told to: the service ignores SIGTERM, or a request took"
            " too long"
        ),
        False,
    )

    words: str
    action: str
    suspects_input: bool

    def __new__(cls, value: str, words: str, action: str, suspects_input: bool) -> Self:  # noqa: FBT001 - a column
        """Return the member of one row."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.words = words
        member.action = action
        member.suspects_input = suspects_input
        return member

    @classmethod
    def of(cls, value: str) -> Self:
        """Return the cause with a value.

        Raises:
            ValueError: there is no such cause.
        """
        for cause in cls:
            if cause == value:
                return cause
        raise ValueError(value)
