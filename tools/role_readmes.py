"""Write the READMEs of the roles from their argument_specs: ``role_readmes.py [--check]``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
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


def main(arguments: list[str] | None = None) -> int:
    """Write the READMEs, or with ``--check`` say which are not up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if one is old")
    options = parser.parse_args(arguments)
    stale = []
    for specs in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        role = specs.parent.parent
        file, text = role / "README.md", readme(role)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(str(file.relative_to(ROOT)))
            if not options.check:
                file.write_text(text, encoding="utf-8")
    if stale and options.check:
        sys.stderr.write(f"Not up to date: {', '.join(stale)}. Run tools/role_readmes.py.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
