"""Virtual environments for the peers, each with its documented requirements.

Versions are pinned. None of them is a dependency of this project. The variables ``PYTHON27`` and
``PYTHON38`` name the interpreters; the defaults are the newest ones of pyenv.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.fixtures.servers import ROOT

_INSTALL_LIMIT_S: Final = 900.0
_ORIGINAL: Final = ROOT / "build/compat/original"

MULTI_MODEL_SERVER: Final = (
    "multi-model-server==1.1.11",
    "model-archiver==1.0.3",
    "mxnet==1.9.1",
    "numpy==1.23.5",
)
LITSERVE: Final = (
    "litserve==0.2.19",
    "python-multipart==0.0.20",
    "mxnet==1.9.1",
    "numpy==1.23.5",
    "pillow",
)

TORCHSERVE: Final = (
    "torchserve==0.12.0",
    "torch-model-archiver==0.12.0",
    "torch==2.14.1",
    "numpy<3",
    "captum",
    "packaging",
    "pillow",
    "psutil",
    "pyyaml",
    "requests",
    "setuptools<81",
)


def original() -> Path:
    """Return the environment of MXNet Model Server 0.4, which also records its answers.

    Raises:
        CalledProcessError: it cannot be made; the script's output has the cause.
    """
    script = ROOT / "tests/compat/record/setup.sh"
    subprocess.run([str(script), str(_ORIGINAL)], check=True, timeout=_INSTALL_LIMIT_S)
    return _ORIGINAL / "venv"


def made(directory: Path, python: str, requirements: Sequence[str]) -> Path:
    """Return a virtual environment with these requirements; the first call makes it.

    Raises:
        CalledProcessError: it cannot be made; pip's output has the cause.
    """
    stamp = directory / ".complete"
    if not stamp.exists():
        for command in (
            [python, "-m", "venv", "--clear", str(directory)],
            [str(directory / "bin/pip"), "install", "--quiet", *requirements],
        ):
            subprocess.run(command, check=True, timeout=_INSTALL_LIMIT_S)
        stamp.touch()
    return directory


def interpreter(version: str) -> str:
    """Return the Python interpreter of a version such as `3.8`.

    Raises:
        FileNotFoundError: there is none.
    """
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    named = os.environ.get(f"PYTHON{version.replace('.', '')}")
    found = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python{version}"))
    if named or found:
        return named or str(found[-1])
    raise FileNotFoundError(
        f"there is no Python {version}: install it (pyenv install {version}), or name it in "
        f"PYTHON{version.replace('.', '')}."
    )
