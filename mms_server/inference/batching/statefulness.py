"""Find out from the source of a service whether it keeps state between the steps of a request.

In a batch, ``_preprocess`` runs for all requests before ``_postprocess`` runs for the first one. A
service that sets an attribute in ``_preprocess`` and reads it in ``_postprocess`` would read the
value of another request.
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
    """Return where a service keeps state, as ``file:line``; empty if it keeps none.

    Only the files of the user's own classes are read; ``__init__`` is not checked. State that other
    files keep, or that the source does not show, is not found.
    """
    for cls in service_class.__mro__:
        if not _is_foreign(cls):
            continue
        try:
            file = Path(inspect.getfile(cls))
            tree = ast.parse(file.read_text("utf-8"))
        except (OSError, TypeError, ValueError, SyntaxError, RecursionError):
            return f"{cls.__name__}, whose source cannot be read"
        line = min(_find_writes(tree), default=0)
        if line:
            return f"{file.name}:{line}"
    return ""


def _is_foreign(cls: type) -> bool:
    """Return whether a class is from a user's file: not from this project or Python's library."""
    ours = ModelService.__module__.partition(".")[0]
    module = cls.__module__.partition(".")[0]
    return module not in {ours, "mms"} and module not in sys.stdlib_module_names


def _find_writes(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of functions that write to objects which outlive the call."""
    shared = set(_module_names(tree.body))
    for node in tree.body:
        if isinstance(node, _Function):
            yield from _writes_in(node, shared)
        elif isinstance(node, ast.ClassDef):
            methods = [child for child in node.body if isinstance(child, _Function)]
            for method in methods:
                if method.name != "__init__":
                    yield from _writes_in(method, shared | _self_name(method))


def _module_names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names of a module's classes and variables, without imports and functions."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _self_name(method: _Function) -> set[str]:
    """Return the name of the first parameter, usually ``self``; empty for a static method."""
    static = any(
        isinstance(decorator, ast.Name) and decorator.id == "staticmethod"
        for decorator in method.decorator_list
    )
    first = (method.args.posonlyargs + method.args.args)[:1]
    return set() if static else {argument.arg for argument in first}


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
    """Return the name at the start of a chain of attributes and indices; empty if it has none."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
