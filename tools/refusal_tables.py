"""Write what follows from the table of refusals: ``refusal_tables.py [--check]``.

From mms_server/core/refusals.py follow the refusals in the variables of the role nginx_proxy, and
the table of errors in docs/http_api.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mms_server.core.refusals import REFUSALS, of_nginx
from tools.generated_files import ROOT, run, with_block

VARIABLES = ROOT / "roles/nginx_proxy/vars/refusals.yml"
DOCUMENT = ROOT / "docs/http_api.md"
BEGIN = "<!-- begin: made from mms_server/core/refusals.py by tools/refusal_tables.py -->"
END = "<!-- end -->"


def texts() -> dict[Path, str]:
    """Return the files and their texts."""
    return {VARIABLES: variables(), DOCUMENT: with_block(DOCUMENT, BEGIN, END, errors())}


def variables() -> str:
    """Return the refusals that nginx finds, as variables of the role."""
    lines = [
        "---",
        "# Made from mms_server/core/refusals.py by tools/refusal_tables.py.",
        "__nginx_proxy_refusals:",
    ]
    for stage, row in of_nginx():
        fields = {
            "status": row.status,
            "stage": stage.value,
            "proxy_error": row.proxy_error,
            "type": row.mms1_type,
            "text": row.text,
            "challenge": row.challenge,
            "retry_after": row.retry_after,
        }
        told = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
        lines += [f"  - {told[0]}", *(f"    {each}" for each in told[1:])]
    return "\n".join(lines) + "\n"


def errors() -> str:
    """Return the table of errors in the documentation."""
    names = ("status", "when", "caused by", "`type` of 1.x", "`Retry-After`")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in REFUSALS:
        kind = f"`{row.mms1_type}`" if row.mms1_type else ""
        fault = "client" if row.client_fault else "server"
        cells = (str(row.status), row.when, fault, kind, "yes" if row.retry_after else "")
        lines.append("".join(f"| {cell} " if cell else "| " for cell in cells) + "|")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with ``--check`` say which are not up to date."""
    return run(__doc__, texts, arguments)


if __name__ == "__main__":
    sys.exit(main())
