"""The role's variables are the rows of the table of settings."""

from __future__ import annotations

from mms_server.config import settings
from tests.unit.roles.modules import ROOT
from tests.unit.roles.test_roles import options, read

ROLE = ROOT / "roles" / "mms_service"
TYPES = {int: "int", float: "float", bool: "bool"}


def test_every_setting_is_a_variable_of_the_same_type_and_default() -> None:
    variables = options(ROLE)
    for row in settings.rows():
        variable = variables[f"mms_service_{row.name}"]
        text = "path" if row.metadata["unit"] == "path" else "str"
        kind = TYPES.get(type(row.default), text)
        assert (variable["type"], variable["default"]) == (kind, row.default)


def test_every_setting_is_written_to_the_file() -> None:
    written = read(ROLE / "vars" / "main.yml")["__mms_service_settings"]
    assert written == [row.name for row in settings.rows()]
