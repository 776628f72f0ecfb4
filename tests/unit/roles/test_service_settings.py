"""The role's variables, and the documents, are those of the two tables of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.config import settings
from mms_server.config.model_settings import ROWS
from tests.unit.roles.modules import ROOT
from tests.unit.roles.test_roles import options, read
from tools import generated_files, setting_tables

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
    template = (ROLE / "templates" / "mms.toml.j2").read_text(encoding="utf-8")
    assert "for name in __mms_service_settings" in template


def test_what_follows_from_the_tables_is_up_to_date() -> None:
    old = [file for file, text in setting_tables.texts().items() if file.read_text() != text]
    assert not old, "run `make generate`"


def test_every_setting_of_a_model_is_documented() -> None:
    document = (ROOT / "docs" / "mms_conf.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert f"| `{row.name}` | {row.type.shown} |" in document
        assert f"| {row.meaning} |" in document


def test_an_old_file_is_named_by_a_check_and_written_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generated_files, "ROOT", tmp_path)
    file = tmp_path / "made.md"
    file.write_text("before\n# begin\nold\n# end\nafter\n")

    def texts() -> dict[Path, str]:
        return {file: generated_files.with_block(file, "# begin", "# end", "new\n")}

    assert generated_files.run("", texts, ["--check"]) == 1
    assert capsys.readouterr().err == "Not up to date: made.md. Run `make generate`.\n"
    assert generated_files.run("", texts, []) == 0
    assert file.read_text() == "before\n# begin\nnew\n# end\nafter\n"
    assert generated_files.run("", texts, ["--check"]) == 0
    with pytest.raises(ValueError, match="no line '# other'"):
        generated_files.with_block(file, "# other", "# end", "")
