"""Copy the defaults of each role into its argument_specs: ``role_defaults.py [--check]``.

A default stands in ``defaults/main.yml``. ``meta/argument_specs.yml`` repeats it for
``ansible-doc`` and the role's README. An option without ``default:`` there stays without one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from tools.generated_files import ROOT, run

_KEY = " " * 8 + "default:"
_WIDTH = 120


def texts() -> dict[Path, str]:
    """Return the argument_specs and their texts."""
    files = sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
    return {file: specs(file.parents[1]) for file in files}


def specs(role: Path) -> str:
    """Return the text of a role's argument_specs with the defaults that the role has."""
    text = (role / "meta/argument_specs.yml").read_text(encoding="utf-8")
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text(encoding="utf-8")) or {}
    options = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    for name, option in options.items():
        wanted = defaults.get(name)
        if "default" in option and name in defaults and option["default"] != wanted:
            text = with_default(text, name, wanted)
    return text


def with_default(text: str, option: str, value: Any) -> str:
    """Return argument_specs in which one option has this default."""
    lines = text.splitlines()
    first = lines.index(f"      {option}:") + 1
    begin = next(at for at in range(first, len(lines)) if lines[at].startswith(_KEY))
    end = begin + 1
    # A default of several lines is indented deeper than its key.
    while end < len(lines) and lines[end].startswith(" " * 9):
        end += 1
    lines[begin:end] = _lines(value)
    return "\n".join(lines) + "\n"


def _lines(value: Any) -> list[str]:
    flow = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    # PyYAML ends a single scalar with a marker of the document's end.
    line = f"{_KEY} {flow.strip().removesuffix('...').strip()}"
    if len(line) <= _WIDTH:
        return [line]
    block = yaml.safe_dump(value, default_flow_style=False, width=_WIDTH - 10, sort_keys=False)
    return [_KEY, *(f"{' ' * 10}{row}" for row in block.splitlines())]


def main(arguments: list[str] | None = None) -> int:
    """Write the argument_specs, or with ``--check`` say which are not up to date."""
    return run(__doc__, texts, arguments)


if __name__ == "__main__":
    sys.exit(main())
