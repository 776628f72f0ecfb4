"""What a row of the table of ``[Model Settings]`` says; the table is in :mod:`model_settings`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from typing import Any, Final

_DECIMAL: Final = re.compile(r"[0-9]{1,2}(\.[0-9]{1,9})?")

FROM_HOST: Final = object()
"""A default: the value of the host's setting of the same name, in mms_server/config/settings.py."""


@dataclass(frozen=True)
class ValueType:
    """The values that a setting can have.

    ``read`` returns the value of a text, and raises ValueError if the text has none. ``expected``
    describes the texts in error messages, ``shown`` in the documentation. ``example`` is one that
    is nobody's default.
    """

    read: Callable[[str], Any]
    expected: str
    shown: str
    example: str


def whole_number(least: int, most: int, unit: str = "") -> ValueType:
    """Return the type of a whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    of_unit = f" of {unit}" if unit else ""
    shown = f"{unit}, {least} to {most}" if unit else f"{least} to {most}"
    return ValueType(read, f"a whole number{of_unit}, {least} to {most}", shown, str(most))


def share() -> ValueType:
    """Return the type of a number above 0, up to 1."""

    def read(text: str) -> float:
        number = float(text) if _DECIMAL.fullmatch(text) else 0.0
        if not 0 < number <= 1:
            raise ValueError(text)
        return number

    return ValueType(read, "a number above 0, up to 1", "above 0, up to 1", "0.5")


def one_of(*words: str) -> ValueType:
    """Return the type of one of some words; the first is the usual one."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    shown = ", ".join(f"`{word}`" for word in words)
    return ValueType(read, f"one of {', '.join(words)}", shown, words[-1])


class Place(Enum):
    """Where in a release a setting has its field, which bears the name of the setting.

    ``RELEASE`` is for what belongs to processes. ``PART`` is for what belongs to one model: a
    release of one model has the field too. ``NONE`` is for a setting that changes no answer, such
    as one of time: another value of it makes no other release.
    """

    RELEASE = "host/release.py, Release"
    PART = "host/release.py, Part and Release"
    CONFINEMENT = "config/sandbox.py, Confinement"
    NONE = "none"


@dataclass(frozen=True)
class Shared:
    """The models of a group have one value: it is given for one of them, or alike for several."""


@dataclass(frozen=True)
class PerModel:
    """Each model of a group has its own value."""


@dataclass(frozen=True)
class Refused:
    """The models of a group can have no other value than ``value``, because of ``reason``."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Needs:
    """Another setting that a setting needs to have an effect.

    ``met`` says whether a model's settings fulfil it. If not, ``otherwise`` says how the model is,
    and ``line`` is a line of the model that would fulfil it.
    """

    met: Callable[[Any], bool]
    otherwise: str
    line: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting of a model. ``in_group`` and ``place`` are required: no setting is ignored.

    ``default`` is for a model that has no line: a value, a function of the model's settings, or
    :data:`FROM_HOST`. ``in_group`` says what a group does with the setting, ``place`` where in a
    release it goes. ``meaning`` is its text in docs/mms_conf.md. ``name`` is the name of its field
    in the table.
    """

    type: ValueType
    default: Any
    in_group: Shared | PerModel | Refused
    place: Place
    meaning: str
    needs: Needs | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse a row that a group could not follow.

        Raises:
            ValueError: the row contradicts itself.
        """
        of_processes = self.place in {Place.RELEASE, Place.CONFINEMENT}
        if of_processes and isinstance(self.in_group, PerModel):
            raise ValueError("processes are shared: each model of a group cannot have its own.")
        if self.place is Place.PART and not isinstance(self.in_group, PerModel):
            raise ValueError("a field of Part is for what each model of a group has of its own.")

    def value(self, own: Any, host: Mapping[str, Any]) -> Any:
        """Return the value for a model's settings; ``host`` are the host's settings, by name."""
        given = getattr(own, self.name)
        if given is not None:
            return given
        if self.default is FROM_HOST:
            return host[self.name]
        return self.default(own) if callable(self.default) else self.default

    def field(self) -> Any:
        """Return the field of :class:`~mms_server.config.model_settings.ModelSettings`."""
        return field(default=None, metadata={"row": self})

    def fields(self, value: Any) -> dict[str, Any]:
        """Return the fields of a release that say ``value``: one, or those of a dataclass."""
        return dict(vars(value)) if is_dataclass(value) else {self.name: value}
