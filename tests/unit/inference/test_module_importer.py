"""Tests of the importer: service files and helpers with equal names in one process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mms_server.core.errors import ServiceError
from mms_server.inference.module_importer import import_service

SERVICE = """
from __future__ import annotations

import dataclasses
import helper
from helper import NAME
from toolbox.words import WORD
import toolbox.words as words


@dataclasses.dataclass
class Row:
    text: "str" = NAME


def late():
    import second
    return second.NAME, helper.NAME, NAME, WORD, words.WORD, Row().text
"""


def write(directory: Path, name: str) -> Path:
    (directory / "toolbox").mkdir(parents=True)
    (directory / "toolbox" / "__init__.py").write_text("")
    (directory / "toolbox" / "words.py").write_text(f"WORD = '{name} word'\n")
    (directory / "helper.py").write_text("from second import NAME\n")
    (directory / "second.py").write_text(f"NAME = '{name}'\n")
    (directory / "service.py").write_text(SERVICE)
    return directory / "service.py"


def test_each_service_file_has_its_own_helpers(tmp_path: Path) -> None:
    files = [write(tmp_path / name, name) for name in ("a", "b")]
    modules = [import_service(file) for file in files]
    for name, module in zip(("a", "b"), modules, strict=True):
        assert module.late() == (name, name, name, f"{name} word", f"{name} word", name)
    assert not {"service", "helper", "second", "toolbox"} & set(sys.modules)


def test_importing_a_file_twice_gives_two_modules(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "a")
    one, two = import_service(file), import_service(file)
    assert one is not two
    assert one.helper is not two.helper


def test_relative_imports_and_imports_of_the_service_itself(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("X = 1\nfrom . import helper\nY = helper.Y\n")
    (tmp_path / "helper.py").write_text("from service import X\nY = X + 1\n")
    assert import_service(tmp_path / "service.py").Y == 2


def test_helpers_come_before_packages_but_not_before_the_standard_library(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError\n")
    (tmp_path / "bottle.py").write_text("MINE = True\n")
    (tmp_path / "service.py").write_text("import json, bottle, mxnet.ndarray\nimport os.path\n")
    module = import_service(tmp_path / "service.py")
    assert module.json is sys.modules["json"]
    assert module.bottle.MINE
    assert module.mxnet is sys.modules["mxnet"]
    assert not hasattr(sys.modules.get("bottle"), "MINE")


def test_no_bytecode_is_written_and_a_failed_import_is_undone(tmp_path: Path) -> None:
    write(tmp_path / "a", "a")
    import_service(tmp_path / "a" / "service.py").late()
    assert not list(tmp_path.rglob("__pycache__"))
    (tmp_path / "bad.py").write_text("import helper, no_such_module\n")
    (tmp_path / "helper.py").write_text("")
    before = set(sys.modules), list(sys.meta_path)
    with pytest.raises(ServiceError, match="No module named 'no_such_module'"):
        import_service(tmp_path / "bad.py")
    assert (set(sys.modules), list(sys.meta_path)) == before


def test_file_names_with_dots_and_hyphens(tmp_path: Path) -> None:
    for name in ("my-service.py", "my.service.v2.py"):
        (tmp_path / name).write_text("import helper\nX = helper.X\n")
    (tmp_path / "helper.py").write_text("X = 3\n")
    for name in ("my-service.py", "my.service.v2.py"):
        assert import_service(tmp_path / name).X == 3
    with pytest.raises(ServiceError, match="cannot be imported"):
        import_service(tmp_path / "missing.py")
