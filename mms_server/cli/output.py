"""Output of the commands: JSON for programs, short text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any, Final

from mms_server.core.errors import MMSError
from mms_server.core.formatting import Column, column_table, duration, size, table
from mms_server.deploy.change_report import Outcome
from mms_server.deploy.operate import ModelStatus
from mms_server.deploy.prune import PruneList
from mms_server.host.generations import Generation
from mms_server.host.release import Release, model_of
from mms_server.host.status_columns import COLUMNS, NOTES
from mms_server.tuning.tune import Tuned, describe_measurement

_WORDS = {"keep": "keeps", "load": "loads", "replace": "replaces", "unload": "unloads"}


def error_json(error: MMSError) -> dict[str, Any]:
    """Return an error as the JSON of a command."""
    about = {"cause": error.cause, "fix": error.fix, "where": error.where(), "text": str(error)}
    return {"error": about}


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return the result of plan, apply or rollback as JSON."""
    costs = outcome.forecast
    return {
        "changed": outcome.changed,
        "generation": outcome.generation,
        "models": [
            {
                **asdict(action),
                "changes": [asdict(row) for row in outcome.changes.get(action.model, ())],
                "gap_s": outcome.gap_s.get(action.model),
            }
            for action in outcome.actions
        ],
        "leftovers": list(outcome.leftovers),
        "keep_warm": dict(outcome.keep_warm),
        "memory": asdict(costs.memory) if costs else None,
        "seconds": costs.seconds if costs else 0.0,
        "gap": list(costs.gap) if costs else [],
        "evicted": list(costs.evicted) if costs else [],
        "risks": list(outcome.risks),
        "before": outcome.before,
        "after": outcome.after,
        "warnings": list(outcome.warnings),
        "plan": outcome_text(outcome, done=False),
    }


def outcome_text(outcome: Outcome, *, done: bool) -> str:
    """Return the result of plan (not ``done``), or of apply or rollback, as text."""
    lines = [table([("ACTION", "MODEL", "RELEASE", "NOTE"), *_actions(outcome, done=done)])]
    lines += [
        f"{model}: {row.name}: {row.before or 'none'} -> {row.after or 'none'}"
        for model, rows in outcome.changes.items()
        for row in rows
    ]
    lines += _costs(outcome, done=done)
    number = outcome.generation
    if not outcome.changed:
        lines.append(f"Nothing to do: generation {number} is what is wanted.")
    elif done:
        lines.append(f"Done: generation {number} is live.")
    elif not outcome.refusal:
        lines.append(f"Nothing was changed; `{outcome.command}` does this.")
    lines += [f"warning: {text}" for text in outcome.warnings]
    return "\n".join(lines)


def _actions(outcome: Outcome, *, done: bool) -> list[tuple[str, ...]]:
    cells: list[tuple[str, ...]] = []
    gap = outcome.forecast.gap if outcome.forecast else ()
    for row in outcome.actions:
        change = " -> ".join(name for name in (row.previous, row.release) if name)
        notes = [f"repairs: {', '.join(row.repairs)}"] if row.repairs else []
        if row.model in outcome.gap_s:
            notes.append(f"gap of {outcome.gap_s[row.model]:.1f} s")
        elif row.release and model_of(row.release) in gap and not done:
            notes.append("with a gap")
        release = str(row.release) if row.action == "keep" else change
        cells.append((_WORDS[row.action], row.model, release, "; ".join(notes)))
    replaced = {row.previous for row in outcome.actions}
    for name in outcome.leftovers:
        seconds = outcome.keep_warm.get(name)
        if seconds:
            note = f"stays loaded for {duration(seconds)}"
            cells.append(("keeps warm", model_of(name), name, note))
        elif name not in replaced:
            cells.append(("stops", model_of(name), name, ""))
    return cells


def _costs(outcome: Outcome, *, done: bool) -> list[str]:
    costs = outcome.forecast
    if costs is None or done:
        return []
    memory = costs.memory
    levels = f"at most {size(memory.during)} during the change, {size(memory.after)} afterwards"
    free = f"of {size(memory.total)}, {size(memory.reserve)} stay free"
    lines = [f"memory: {size(memory.before)} in use, {levels} ({free})"]
    models = {row.model for row in outcome.actions}
    for name, needs in costs.starts.items():
        how = "measured" if needs.measured else "estimated"
        needed = f"{size(needs.memory_bytes)}, ready in {duration(needs.ready_s)} ({how})"
        lines.append(f"{'model' if name in models else 'group'} {name}: needs {needed}")
    lines.append(f"expected: {duration(costs.seconds)}")
    return lines + [f"risk: {text}" for text in outcome.risks]


def status_json(generation: Generation | None, rows: list[ModelStatus]) -> dict[str, Any]:
    """Return the result of status as JSON."""
    return {
        "healthy": bool(rows) and all(row.health.ready for row in rows),
        "generation": generation.number if generation else None,
        "made_at": generation.made_at if generation else None,
        "by": generation.by if generation else None,
        "conf": generation.conf if generation else None,
        "restores": generation.restores if generation else None,
        "models": [row.as_json() for row in rows],
    }


def tuned_text(tuned: Tuned) -> str:
    """Return the measurements of `mms tune` as a table, and the best settings."""
    head = "WORKERS BATCH DELAY_MS CONNECTIONS REQUESTS/S P50_MS P99_MS FAILED STABLE"
    cells: list[tuple[str, ...]] = [tuple(head.split())]
    for row in tuned.found:
        candidate, seen = row.candidate, row.window
        settings = (*astuple(candidate), row.connections)
        rates = (seen.requests_per_s, seen.p50_ms, seen.p99_ms)
        stable = "yes" if row.stable else "no"
        cells.append(
            (*map(str, settings), *(f"{one:.1f}" for one in rates), str(seen.failed), stable)
        )
    best = f"Best for a p99 of {tuned.p99_ms:g} ms: {describe_measurement(tuned.best)}."
    what = "as it serves now" if not tuned.changed else "other settings than it serves with now"
    lines = [table(cells), f"{best} That is {what}."]
    if tuned.written:
        lines.append(f"{tuned.written} says so; `mms apply` or an update makes it serve so.")
    return "\n".join(lines)


def status_text(generation: Generation | None, rows: list[ModelStatus]) -> str:
    """Return the result of status as a table."""
    if generation is None:
        return "This host has never served a model. `mms apply --conf FILE` starts."
    head = f"Generation {generation.number}, made {generation.made_at} by {generation.by}"
    models = [row.as_json() for row in rows]
    lines = [f"{head}{_origin(generation)}", column_table(COLUMNS, models)]
    lines += filter(None, (note(model) for note in NOTES for model in models))
    groups = Counter(row.group for row in rows if row.group)
    lines += [
        f"group {name}: its {count} models share processes and memory"
        for name, count in groups.items()
    ]
    return "\n".join(lines)


def _origin(generation: Generation) -> str:
    if generation.restores is not None:
        return f", back to generation {generation.restores}"
    return f" from {generation.conf}"


def releases_json(
    kept: list[Generation],
    on_disk: list[tuple[str, Release | None]],
    warm: Mapping[str, float],
) -> dict[str, Any]:
    """Return the result of releases as JSON; ``on_disk`` are ids and releases, None if unknown."""
    rows = []
    for name, release in on_disk:
        parts = release.parts if release else {}
        numbers = [g.number for g in kept if name in g.models.values()]
        live = bool(kept) and name in kept[0].models.values()
        rows.append(
            {
                "release": name,
                "archives": {model: part.archive_sha256 for model, part in parts.items()},
                "generations": numbers,
                "live": live,
                "warm_s": warm.get(name),
            }
        )
    return {"generations": [asdict(g) for g in kept], "releases": rows}


def releases_text(answer: dict[str, Any]) -> str:
    """Return the result of releases as two tables."""
    if not answer["releases"]:
        return "There are no releases on this host."
    made = column_table(_GENERATIONS, answer["generations"])
    return f"{made}\n\n{column_table(_RELEASES, answer['releases'])}"


def _made_from(generation: Mapping[str, Any]) -> str:
    back = generation["restores"]
    return str(generation["conf"]) if back is None else f"generation {back}"


def _state(release: Mapping[str, Any]) -> str:
    if release["live"]:
        return "live"
    warm_s = release["warm_s"]
    return "kept" if warm_s is None else f"warm, {duration(warm_s)} left"


def _archives(release: Mapping[str, Any]) -> str:
    digests = dict.fromkeys(release["archives"].values())
    return ", ".join(digest[:12] for digest in digests) or "unknown"


_GENERATIONS: Final = (
    Column("GENERATION", lambda row: str(row["number"])),
    Column("MADE", lambda row: str(row["made_at"])),
    Column("BY", lambda row: str(row["by"])),
    Column("FROM", _made_from),
    Column("RELEASES", lambda row: ", ".join(row["models"].values())),
)
"""The columns of the generations in `mms releases`; a row is an object of its JSON."""

_RELEASES: Final = (
    Column("RELEASE", lambda row: str(row["release"])),
    Column("STATE", _state),
    Column("GENERATIONS", lambda row: ", ".join(map(str, row["generations"]))),
    Column("ARCHIVE", _archives),
)
"""The columns of the releases in `mms releases`; a row is an object of its JSON."""


def gc_text(ended: Sequence[str], found: PruneList, *, done: bool) -> str:
    """Return what was removed, or would be removed, as text."""
    cells = [("end", name) for name in ended]
    cells += [("generation", str(number)) for number in found.generations]
    cells += [("release", name) for name in found.releases]
    cells += [("store entry", name[:12]) for name in found.entries]
    cells += [("download", name) for name in found.downloads]
    if not cells:
        return "Nothing to do: all that is here is needed."
    words = "Removed" if done else "Nothing was changed; `mms gc` removes"
    return f"{table(cells)}\n{words} {size(found.size_bytes)}."
