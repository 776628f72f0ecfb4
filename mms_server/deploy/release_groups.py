"""Join the releases of the models of a group into one release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mms_server.config import model_settings
from mms_server.host.release import NO_PART, Release


def joined(releases: Mapping[str, Release], groups: Mapping[str, str]) -> dict[str, Release]:
    """Return the releases, with one release for each group in place of those of its models.

    ``groups`` maps models to groups; other models keep their releases. A group's release has the
    shared fields of its models, which are the same in all of them, a part for each model, and fixed
    values for what a group refuses.
    """
    members: dict[str, list[str]] = {}
    for model, group in groups.items():
        members.setdefault(group, []).append(model)
    made = {
        group: replace(
            releases[names[0]],
            model=group,
            group={name: releases[name].parts[name] for name in sorted(names)},
            **vars(NO_PART),
            **model_settings.group_fields(),
        )
        for group, names in members.items()
    }
    return {
        model: made[groups[model]] if model in groups else release
        for model, release in releases.items()
    }
