"""The limits on a request are those of its release; all places have the same defaults."""

from __future__ import annotations

from dataclasses import fields, replace

from mms_server.config.request_limits import RequestLimits
from mms_server.config.settings import Settings
from mms_server.host.release import Release

RELEASE = Release("m", "0" * 64, 1, "/opt/mms/current")


def test_defaults_are_the_same_everywhere() -> None:
    limits = RequestLimits()
    settings = {row.name for row in fields(RequestLimits)} & {row.name for row in fields(Settings)}
    assert settings >= {"max_body_bytes", "max_pixels"}
    for name in settings:
        assert getattr(Settings(), name) == getattr(limits, name)
    assert RequestLimits.of(RELEASE) == limits


def test_a_limit_that_is_a_setting_is_a_field_of_releases() -> None:
    names = {row.name for row in fields(RequestLimits)}
    of_releases = {row.name for row in fields(Release)}
    assert names & {row.name for row in fields(Settings)} == names & of_releases


def test_a_release_sets_the_limits_of_its_requests() -> None:
    found = RequestLimits.of(replace(RELEASE, max_body_bytes=1024, max_pixels=7))
    assert found == RequestLimits(max_body_bytes=1024, max_pixels=7)
