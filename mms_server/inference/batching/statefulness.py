"""Whether a service keeps state between the steps of a request, as far as its source says.

In a batch all requests are prepared before the first is finished. A service that leaves something
on itself in ``_preprocess`` and reads it in ``_postprocess`` would find that of another request.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mms_server.inference.services.model_service import ModelService

_MUTATORS: Final = frozenset(
    {
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "popleft",
        "put",
        "remove",
        "setdefault",
        "update",
    }
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def state_of(service_class: type) -> str:
    """Return where a service keeps state, as ``file:line``; empty if it does not.

    Looked at are the files of its own classes; an ``__init__`` may do as it likes. What it does in
    other files, or hides from its source, is not seen.
    """
    for each in service_class.__mro__:
        if not _is_foreign(each):
            continue
        try:
            file = Path(inspect.getfile(each))
            tree = ast.parse(file.read_text("utf-8"))
        except (OSError, TypeError, ValueError, SyntaxError, RecursionError):
            return f"{each.__name__}, whose source cannot be read"
        line = min(_writes(tree), default=0)
        if line:
            return f"{file.name}:{line}"
    return ""


def _is_foreign(each: type) -> bool:
    ours = ModelService.__module__.partition(".")[0]
    module = each.__module__.partition(".")[0]
    return module not in {ours, "mms"} and module not in sys.stdlib_module_names


def _writes(tree: ast.Module) -> Iterator[int]:
    """Yield the lines that write to what outlives their function."""
    shared = set(_bound(tree.body))
    for node in tree.body:
        if isinstance(node, _Function):
            yield from _writes_in(node, shared)
        elif isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, _Function)]
            for method in methods:
                if method.name != "__init__":
                    yield from _writes_in(method, shared | _self(method))


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that a module's statements make, but for imports and functions."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (each.id for each in targets if isinstance(each, ast.Name))


def _self(method: _Function) -> set[str]:
    static = any(
        isinstance(one, ast.Name) and one.id == "staticmethod" for one in method.decorator_list
    )
    first = (method.args.posonlyargs + method.args.args)[:1]
    return set() if static else {each.arg for each in first}


def _writes_in(function: _Function, shared: set[str]) -> Iterator[int]:
    for node in ast.walk(function):
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield node.lineno
        elif isinstance(node, ast.Attribute | ast.Subscript):
            if isinstance(node.ctx, ast.Store | ast.Del) and _root(node) in shared:
                yield node.lineno
        elif isinstance(node, ast.Call) and _is_write(node, shared):
            yield node.lineno


def _is_write(call: ast.Call, shared: set[str]) -> bool:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in _MUTATORS and _root(call.func) in shared
    writes = isinstance(call.func, ast.Name) and call.func.id in {"setattr", "delattr", "vars"}
    return writes and bool(call.args) and _root(call.args[0]) in shared


def _root(node: Any) -> str:
    """Return the name at which a chain of attributes and indices begins; empty if at none."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
