"""Write the READMEs of the roles from their argument_specs: ``role_readmes.py [--check]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from tools.generated_files import ROOT, run

STAGES = ("preflight", "install", "configure", "run")


def sentence(text: str | list[str]) -> str:
    """Return a description as one Markdown paragraph; ``C(x)`` becomes code."""
    joined = text if isinstance(text, str) else " ".join(text)
    out, rest = "", " ".join(joined.split())
    while "C(" in rest:
        before, _, after = rest.partition("C(")
        code, _, rest = after.partition(")")
        out += f"{before}`{code}`"
    return out + rest


def default_text(option: dict[str, Any]) -> str:
    """Return the default of an option for the table."""
    if option.get("required"):
        return "required"
    value = option.get("default")
    text = value if isinstance(value, str) and value else json.dumps(value)
    return f"`{text}`"


def table(options: dict[str, dict[str, Any]]) -> list[str]:
    """Return the table of the variables."""
    lines = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options.items():
        cells = (f"`{name}`", option["type"], default_text(option), sentence(option["description"]))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def readme(role: Path) -> str:
    """Return the README of one role."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    spec = specs["argument_specs"]["main"]
    description = spec["description"]
    paragraphs = [description] if isinstance(description, str) else description
    stages = [name for name in STAGES if (role / "tasks" / f"{name}.yml").exists()]
    tags = ", ".join(f"`{name}`" for name in [role.name, *(f"{role.name}_{s}" for s in stages)])
    lines = [
        f"# {role.name}",
        "",
        f"{spec['short_description']}.",
        "",
        *[f"* {sentence(text)}" for text in paragraphs],
        "",
        # A role without stages is made of entry points, which no tag chooses.
        *([f"Tags: {tags}.", ""] if stages else []),
        *table(spec["options"]),
        "",
        "Made from `meta/argument_specs.yml` by `tools/role_readmes.py`.",
    ]
    return "\n".join(lines) + "\n"


def texts() -> dict[Path, str]:
    """Return the READMEs of all roles."""
    found = sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
    roles = [specs.parent.parent for specs in found]
    return {role / "README.md": readme(role) for role in roles}


def main(arguments: list[str] | None = None) -> int:
    """Write the READMEs, or with ``--check`` say which are not up to date."""
    return run(__doc__, texts, arguments)


if __name__ == "__main__":
    sys.exit(main())
