"""A host that configures itself has the packages of requirements/joining.txt, and no others."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

from tests.unit.roles.modules import ROOT

LIBRARY = ROOT / "roles/mms_service/library/mms_conf.py"
# Packages whose modules are called otherwise, and what they bring without a package of its own.
CALLED = {"pyyaml": "yaml", "ansible-core": "ansible", "python-dateutil": "dateutil"}
GUARD = """
import importlib, importlib.abc, sys

class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in {allowed!r}:
            return None
        raise ModuleNotFoundError("not on a host that configures itself", name=name)

sys.meta_path.insert(0, Guard())
sys.path.insert(0, {root!r})
for name in {modules!r}:
    importlib.import_module(name)
"""


def test_what_is_checked_before_anything_is_there_needs_no_more() -> None:
    tree = ast.parse(LIBRARY.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = sorted({str(node.module) for node in imports if "mms_server" in str(node.module)})
    locked = (ROOT / "requirements/joining.txt").read_text(encoding="utf-8")
    names = re.findall(r"^([A-Za-z0-9._-]+)==", locked, re.MULTILINE)
    allowed = {CALLED.get(name, name).replace("-", "_") for name in names}
    allowed |= {"mms_server", "_cffi_backend", "_yaml"}
    assert "mms_server.deploy.desired_state" in modules
    assert "mms_server.config.mms_conf" not in modules, "it is imported from the package"
    text = GUARD.format(
        allowed=allowed, root=str(ROOT), modules=[*modules, "mms_server.config.mms_conf"]
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", text], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
