"""Certificates and places for the tests of deaths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mms_server.deaths.certificate import Certificate, Request, moment, new_id
from mms_server.deaths.places import Places

RELEASE = "digits.0123abcd"
DIGEST = "ab" * 32


def certificate(now: float = 1_800_000_000.0, **changes: Any) -> Certificate:
    facts: dict[str, Any] = {
        "id": new_id(now),
        "at": moment(now),
        "release": RELEASE,
        "model": "digits",
        "role": "worker",
        "pid": 7,
        "cause": "signal",
        "signal": "SIGSEGV",
        "requests": (Request("id-1", DIGEST, 0.5),),
    }
    return Certificate(**{**facts, **changes})


def places(root: Path) -> Places:
    made = Places(root / "run/mms/instances" / RELEASE)
    made.prepare()
    return made
