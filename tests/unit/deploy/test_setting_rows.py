"""Every row of the table of [Model Settings], from its line in mms.conf to the release."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from mms_server.archives.resolver import ArchiveResolver
from mms_server.config import settings
from mms_server.config.mms_conf import read
from mms_server.config.model_settings import ROWS, ModelSettings, group_fields
from mms_server.config.sandbox import Confinement
from mms_server.config.setting_rows import (
    FROM_HOST,
    PerModel,
    Place,
    Refused,
    Row,
    Shared,
    ValueType,
    whole_number,
)
from mms_server.core.errors import ConfError
from mms_server.deploy.desired_state import DesiredState, resolve
from mms_server.host.release import NO_PART, Part, Release
from mms_server.tuning.search import Candidate
from tests.fixtures.fake_host import FakeHost

MODELS = {"a": "1", "b": "1"}
IN_GROUPS = [row for row in ROWS if row.name != "group"]
IDS = [row.name for row in ROWS]
CLASSES = {Place.RELEASE: Release, Place.PART: Part, Place.CONFINEMENT: Confinement}


def resolved(fake: FakeHost, lines: list[str]) -> DesiredState:
    """Return what a host is to serve by these lines of [Model Settings]."""
    host = fake.host
    archives = ArchiveResolver(host.store, host.fetcher(fake.root / "download"))
    conf = read(fake.write_conf(MODELS, "\n".join(["[Model Settings]", *lines, ""])))
    return resolve(
        conf, fake.settings, archives, lambda _text: None, log_root=Path("/var/log"), take=True
    )


def own_lines(model: str, row: Row) -> list[str]:
    """Return a line that gives a row's example, and one with what it needs, if it needs one."""
    value = row.type.read(row.type.example)
    alone = row.needs is None or row.needs.met(ModelSettings(**{row.name: value}))
    lines = [f"{model}.{row.name}={row.type.example}"]
    return lines if alone or row.needs is None else [*lines, f"{model}.{row.needs.line}"]


def in_release(state: DesiredState, model: str, row: Row, name: str) -> Any:
    """Return a field of a model's release, from where the row says that it is."""
    release = state.releases[model]
    places = {
        Place.RELEASE: release,
        Place.PART: release.parts[model],
        Place.CONFINEMENT: release.confinement,
    }
    return getattr(places[row.place], name)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_setting_is_in_the_release_of_its_model_and_of_no_other(fake: FakeHost, row: Row) -> None:
    before, after = resolved(fake, []), resolved(fake, own_lines("b", row))
    assert after.ids()["a"] == before.ids()["a"]
    if row.place is Place.NONE:
        group = after.releases["b"].group
        assert row.name == "group" or after.ids()["b"] == before.ids()["b"]
        assert (row.name == "group") == bool(group)
        return
    for name, value in row.fields(row.type.read(row.type.example)).items():
        assert in_release(after, "b", row, name) == value
        assert in_release(before, "b", row, name) != value, "an example is no default"


@pytest.mark.parametrize("row", IN_GROUPS, ids=[row.name for row in IN_GROUPS])
def test_a_setting_of_the_second_model_of_a_group_is_never_ignored(
    fake: FakeHost, row: Row
) -> None:
    together = ["a.group=small", "b.group=small"]
    value = row.type.read(row.type.example)
    if isinstance(row.in_group, Refused):
        lines = own_lines("b", row)
        names = "|".join(line.partition("=")[0] for line in lines)
        with pytest.raises(ConfError, match=rf"({names})=.+, but b is in the group small"):
            resolved(fake, [*together, *lines])
        return
    conf = read(
        fake.write_conf(MODELS, "\n".join(["[Model Settings]", *together, *own_lines("b", row)]))
    )
    given = {model: getattr(own, row.name) for model, own in conf.model_settings.items()}
    shared = isinstance(row.in_group, Shared)
    assert given == {"a": value if shared else None, "b": value}
    state = resolved(fake, [*together, *own_lines("b", row)])
    assert state.releases["a"] == state.releases["b"]
    if row.place is Place.NONE:
        return
    alone = resolved(fake, together)
    for name, each in row.fields(value).items():
        assert in_release(state, "b", row, name) == each
        left = each if shared else in_release(alone, "a", row, name)
        assert in_release(state, "a", row, name) == left


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_row_has_a_field_where_it_says_and_the_same_default_there(row: Row) -> None:
    if row.place is Place.NONE:
        assert not {row.name} & {each.name for each in fields(Release)} - {"group"}
        return
    there = {each.name: each for each in fields(CLASSES[row.place])}
    for name, value in row.fields(_default(row)).items():
        assert _default_of(there[name]) in {MISSING, value}
        if row.place is Place.PART:
            assert _default_of({each.name: each for each in fields(Release)}[name]) == value


def _default(row: Row) -> Any:
    return MISSING if row.default is FROM_HOST else row.value(ModelSettings(), {})


def _default_of(each: Field[Any]) -> Any:
    return each.default


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_default_of_the_host_is_a_setting_of_the_host(row: Row) -> None:
    assert row.default is not FROM_HOST or row.name in {each.name for each in settings.rows()}


IN_RELEASES = [
    row for row in settings.rows() if row.name in {each.name for each in fields(Release)}
]


@pytest.mark.parametrize("row", IN_RELEASES, ids=[row.name for row in IN_RELEASES])
def test_a_setting_of_the_host_is_in_all_releases(fake: FakeHost, row: Field[Any]) -> None:
    other = str(fake.root) if isinstance(row.default, str) else row.metadata["highest"]
    fake.settings = replace(fake.settings, **{row.name: other})
    state = resolved(fake, [])
    assert {getattr(release, row.name) for release in state.releases.values()} == {other}
    default = {each.name: each.default for each in fields(Release)}[row.name]
    assert default in {MISSING, row.default}


def test_what_mms_tune_tries_are_settings_of_a_release() -> None:
    tried = {each.name for each in fields(Candidate)}
    assert tried <= {row.name for row in ROWS if row.place is Place.RELEASE}


def test_what_a_group_has_otherwise_are_fields_of_a_release() -> None:
    names = {each.name for each in fields(Release)}
    assert {**vars(NO_PART), **group_fields()}.keys() <= names


ROW: dict[str, Any] = {
    "type": whole_number(1, 9),
    "default": 1,
    "in_group": Shared(),
    "place": Place.RELEASE,
    "meaning": "made up",
}


@pytest.mark.parametrize("missing", ROW)
def test_a_row_without_what_it_needs_cannot_be_made(missing: str) -> None:
    with pytest.raises(TypeError, match=missing):
        Row(**{name: value for name, value in ROW.items() if name != missing})


@pytest.mark.parametrize(
    ("place", "in_group"),
    [
        (Place.RELEASE, PerModel()),
        (Place.CONFINEMENT, PerModel()),
        (Place.PART, Shared()),
        (Place.PART, Refused(1, "made up")),
    ],
)
def test_a_row_that_contradicts_itself_cannot_be_made(place: Place, in_group: Any) -> None:
    with pytest.raises(ValueError, match="each model of a group"):
        Row(**{**ROW, "place": place, "in_group": in_group})


def test_examples_are_values() -> None:
    kinds: list[ValueType] = [row.type for row in ROWS]
    assert all(kind.read(kind.example) is not None for kind in kinds)
