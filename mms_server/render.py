"""What the commands print: JSON for programs, short text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mms_server.apply import Outcome
from mms_server.errors import MMSError
from mms_server.generations import Generation
from mms_server.operate import ModelStatus

_WORDS = {"keep": "keeps", "load": "loads", "replace": "replaces", "unload": "unloads"}


def error_json(error: MMSError) -> dict[str, Any]:
    """Return an error as the commands' JSON."""
    about = {"cause": error.cause, "fix": error.fix, "where": error.where(), "text": str(error)}
    return {"error": about}


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return the result of plan and apply."""
    return {
        "changed": outcome.changed,
        "generation": outcome.generation,
        "models": [asdict(action) for action in outcome.actions],
        "leftovers": list(outcome.leftovers),
        "before": outcome.before,
        "after": outcome.after,
        "warnings": list(outcome.warnings),
    }


def outcome_text(outcome: Outcome, *, done: bool) -> str:
    """Return the result of plan (not ``done``) or apply in words."""
    lines = []
    for row in outcome.actions:
        line = f"{_WORDS[row.action]:9} {row.model}"
        change = " -> ".join(name for name in (row.previous, row.release) if name)
        line += f"  {row.release if row.action == 'keep' else change}"
        lines.append(line + (f"  (repairs: {', '.join(row.repairs)})" if row.repairs else ""))
    replaced = {row.previous for row in outcome.actions}
    lines += [f"stops     {name}" for name in outcome.leftovers if name not in replaced]
    number = outcome.generation
    if not outcome.changed:
        lines.append(f"Nothing to do: generation {number} is what the file says.")
    elif done:
        lines.append(f"Done: generation {number} is live.")
    else:
        lines.append("Nothing was changed; `mms apply` does this.")
    lines += [f"warning: {text}" for text in outcome.warnings]
    return "\n".join(lines)


def status_json(generation: Generation | None, rows: list[ModelStatus]) -> dict[str, Any]:
    """Return the result of status."""
    return {
        "healthy": bool(rows) and all(row.health.ready for row in rows),
        "generation": generation.number if generation else None,
        "made_at": generation.made_at if generation else None,
        "by": generation.by if generation else None,
        "conf": generation.conf if generation else None,
        "models": [
            {
                "model": row.model,
                "release": row.release,
                "state": row.units.service,
                "socket_state": row.units.socket,
                "enabled": row.units.enabled,
                "master": row.health.master,
                "workers": row.health.workers,
                "linked": row.health.linked,
                "serving": row.health.serving,
                "ready": row.health.ready,
                "reason": row.health.reason,
                "socket": row.socket,
            }
            for row in rows
        ],
    }


def status_text(generation: Generation | None, rows: list[ModelStatus]) -> str:
    """Return the result of status as a table."""
    if generation is None:
        return "This host has never served a model. `mms apply --conf FILE` starts."
    head = f"Generation {generation.number}, made {generation.made_at} by {generation.by}"
    cells = [("MODEL", "RELEASE", "STATE", "READY", "WORKERS", "SOCKET")]
    for row in rows:
        ready = "yes" if row.health.ready else "no"
        state = row.units.service
        workers = str(row.health.workers)
        cells.append((row.model, row.release, state, ready, workers, row.socket))
    reasons = [f"{row.model}: {row.health.reason}" for row in rows if not row.health.ready]
    return "\n".join([f"{head} from {generation.conf}", table(cells), *reasons])


def releases_json(kept: list[Generation], on_disk: list[tuple[str, str | None]]) -> dict[str, Any]:
    """Return the result of releases; ``on_disk`` holds (release id, archive's SHA-256)."""
    rows = []
    for name, archive in on_disk:
        numbers = [g.number for g in kept if name in g.models.values()]
        live = bool(kept) and name in kept[0].models.values()
        rows.append({"release": name, "archive": archive, "generations": numbers, "live": live})
    return {"generations": [asdict(g) for g in kept], "releases": rows}


def releases_text(answer: dict[str, Any]) -> str:
    """Return the result of releases as a table."""
    cells = [("RELEASE", "LIVE", "GENERATIONS", "ARCHIVE")]
    for row in answer["releases"]:
        numbers = ", ".join(str(number) for number in row["generations"])
        live = "yes" if row["live"] else "no"
        cells.append((row["release"], live, numbers, (row["archive"] or "unknown")[:12]))
    return table(cells) if answer["releases"] else "There are no releases on this host."


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows of cells, aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
