"""Join the releases of the models of a group into one release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mms_server.host.release import Release


def joined(releases: Mapping[str, Release], groups: Mapping[str, str]) -> dict[str, Release]:
    """Return the releases with one for each group in place of those of its models.

    ``groups`` is by model; what is not in it keeps its own.
    """
    members: dict[str, list[str]] = {}
    for model, group in groups.items():
        members.setdefault(group, []).append(model)
    made = {
        group: replace(
            releases[names[0]],
            model=group,
            archive_sha256="",
            golden="",
            request_timeout_ms=0,
            max_batch_size=1,
            max_batch_delay_ms=0,
            group={name: releases[name].parts[name] for name in sorted(names)},
        )
        for group, names in members.items()
    }
    return {
        model: made[groups[model]] if model in groups else release
        for model, release in releases.items()
    }
