"""Write an ``mms.conf`` from variables, for fleets whose inventory names the models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mms_server.config.mms_args import MODEL_NAME
from mms_server.core.errors import MMSError

_KEYS: Final = ("location", "settings")
_BLANK: Final = re.compile(r"\s")


def render(models: Mapping[str, Any], rest: str) -> str:
    """Return the mms.conf of ``models``; ``rest`` is the text of its other sections.

    A model is a location, or a mapping with ``location`` and ``settings`` (name -> value, for
    ``[Model Settings]``).

    Raises:
        MMSError: a model is neither, or ``rest`` names models as well.
    """
    if not models:
        raise MMSError("there is no model.", fix="add one to mms_service_models.")
    if re.search(r"^\s*--models?\s*$", rest, re.MULTILINE | re.IGNORECASE):
        cause = "--models is in mms_service_rest, beside mms_service_models."
        raise MMSError(cause, fix="name the models in one place.")
    pairs, settings = [], []
    for name, given in models.items():
        wanted = given if isinstance(given, Mapping) else {"location": given}
        location = _location(name, wanted)
        pairs.append(f"{name}={location}")
        settings += [f"{name}.{key}={_text(value)}" for key, value in _settings(name, wanted)]
    parts = [f"[MMS Arguments]\n--models\n{' '.join(pairs)}"]
    if rest.strip():
        parts.append(rest.strip())
    if settings:
        parts.append("\n".join(["[Model Settings]", *settings]))
    return "\n\n".join(parts) + "\n"


def _location(name: str, wanted: Mapping[str, Any]) -> str:
    if not MODEL_NAME.fullmatch(name):
        fix = "use up to 64 letters, digits, dots, underscores and hyphens."
        raise MMSError(f"{name!r} in mms_service_models cannot be a model's name.", fix=fix)
    unknown = sorted(set(wanted) - set(_KEYS))
    if unknown:
        cause = f"model {name}: {unknown[0]} is not a key of a model."
        raise MMSError(cause, fix=f"use {' and '.join(_KEYS)}.")
    location = wanted.get("location")
    if not isinstance(location, str) or not location or _BLANK.search(location):
        cause = f"model {name}: its location is missing, not a string, or has a blank."
        raise MMSError(cause, fix="write a path or a URL, %20 for a blank.")
    return location


def _settings(name: str, wanted: Mapping[str, Any]) -> list[tuple[str, Any]]:
    settings = wanted.get("settings") or {}
    if not isinstance(settings, Mapping):
        fix = "write `settings: {keep_warm_s: 60}`."
        raise MMSError(f"model {name}: its settings are not a mapping.", fix=fix)
    return list(settings.items())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
