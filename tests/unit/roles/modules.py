"""Import the roles' Ansible modules, which are no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]


def load(role: str, name: str) -> ModuleType:
    """Return the module ``library/<name>.py`` of a role."""
    file = ROOT / "roles" / role / "library" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Data classes look their module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
