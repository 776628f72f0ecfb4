"""Write what follows from the two tables of settings: ``setting_tables.py [--check]``.

From mms_server/config/settings.py follow the variables of the role mms_service, from
mms_server/config/model_settings.py the table of [Model Settings] in docs/mms_conf.md.
"""

from __future__ import annotations

import re
import sys
import textwrap
from dataclasses import Field
from pathlib import Path
from typing import Any

import yaml

from mms_server.config import settings
from mms_server.config.model_settings import ROWS
from mms_server.config.setting_rows import Refused, Row, Shared
from tools.generated_files import ROOT, run, with_block

ROLE = ROOT / "roles/mms_service"
DOCUMENT = ROOT / "docs/mms_conf.md"
YAML_BEGIN = "# begin: made from mms_server/config/settings.py by tools/setting_tables.py"
YAML_END = "# end"
MARKDOWN_BEGIN = (
    "<!-- begin: made from mms_server/config/model_settings.py by tools/setting_tables.py -->"
)
MARKDOWN_END = "<!-- end -->"
WIDTH = 115
_TYPES = {int: "int", float: "float", bool: "bool"}


def texts() -> dict[Path, str]:
    """Return the files and their texts."""
    blocks = {
        ROLE / "vars/main.yml": names(),
        ROLE / "defaults/main.yml": defaults(),
        ROLE / "meta/argument_specs.yml": options(),
    }
    found = {
        file: with_block(file, f"{indent}{YAML_BEGIN}", f"{indent}{YAML_END}", body)
        for file, body in blocks.items()
        for indent in [" " * (6 if file.parent.name == "meta" else 0)]
    }
    found[DOCUMENT] = with_block(DOCUMENT, MARKDOWN_BEGIN, MARKDOWN_END, model_settings())
    return found


def names() -> str:
    """Return the list of the settings, which mms.toml.j2 goes through."""
    lines = ["__mms_service_settings:", *(f"  - {row.name}" for row in settings.rows())]
    return "\n".join(lines) + "\n"


def defaults() -> str:
    """Return the variables of the role with their defaults."""
    paragraphs = [
        f"{_wrapped(_about(row), '# ')}\nmms_service_{row.name}: {_yaml(row.default)}\n"
        for row in settings.rows()
    ]
    return "\n" + "\n".join(paragraphs) + "\n"


def options() -> str:
    """Return the rows of the role's argument_specs."""
    lines: list[str] = []
    for row in settings.rows():
        about = re.sub(r"`([^`]*)`", r"C(\1)", _about(row))
        lines += [
            f"      mms_service_{row.name}:",
            f"        type: {_type(row)}",
            f"        default: {_yaml(row.default)}",
            "        description: >-",
            _wrapped(about, " " * 10),
        ]
    return "\n".join(lines) + "\n"


def model_settings() -> str:
    """Return the table of [Model Settings]."""
    lines = ["| name | value | in a [group](#groups) | meaning |", "|---|---|---|---|"]
    for row in ROWS:
        cells = (f"`{row.name}`", row.type.shown, _in_group(row), row.meaning)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _in_group(row: Row) -> str:
    if isinstance(row.in_group, Shared):
        return "shared"
    if isinstance(row.in_group, Refused):
        return f"refused: {row.in_group.reason}"
    return "one for each model"


def _about(row: Field[Any]) -> str:
    return f"{row.metadata['help']} Unit: {row.metadata['unit']}."


def _type(row: Field[Any]) -> str:
    return _TYPES.get(type(row.default), "path" if row.metadata["unit"] == "path" else "str")


def _yaml(value: object) -> str:
    return str(yaml.safe_dump(value)).partition("\n")[0]


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with ``--check`` say which are not up to date."""
    return run(__doc__, texts, arguments)


if __name__ == "__main__":
    sys.exit(main())
