"""Adapter that runs a 1.x handler as a service: a function ``handle(data, context)`` or a class.

The calls are those of MXNet Model Server 1.x (docs/compatibility.md, 17). A function is
called once with None when the model loads; a class gets ``initialize(context)`` instead. Each
request is then a list of one row, and the handler returns a list of one element. A row is a dict of
the form's fields, or of the body under ``body``, and of the query's parameters. JSON values are
parsed, all others are bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from mms.context import Context
from mms.service import PredictionException
from mms_server.archives.manifest import Manifest
from mms_server.core.errors import ServiceError
from mms_server.inference.raw_request import HandlerAnswer, RawRequest
from mms_server.inference.services.model_service import ModelService, load_service
from mms_server.metrics.stage_timing import INFERENCE, POSTPROCESS, PREPROCESS, stage

_JSON: Final = "application/json"

EntryPoint = Callable[[Any, Context], Any]


class HandlerService(ModelService):
    """A handler and its context, which stays the same from request to request."""

    def __init__(
        self, model_name: str, model_dir: str, manifest: Manifest, gpu: int | None = None
    ) -> None:
        """Import the handler and let it load its model.

        Raises:
            ServiceError: the handler cannot be imported, does not exist, or fails.
        """
        super().__init__(model_name, model_dir, manifest.raw, gpu)
        self._context = Context(model_name, model_dir, manifest.raw, gpu)
        file = Path(model_dir, manifest.service)
        module = load_service(str(file))
        try:
            self._handle = self._load_entry_point(module, manifest.function or "")
        except ServiceError:
            raise
        except (Exception, SystemExit) as error:
            raise ServiceError(
                f"the handler {file.name} does not load model {model_name}: "
                f"{type(error).__name__}: {error}.",
                fix="correct the handler, or the archive.",
            ) from error

    def inference(self, data: RawRequest) -> HandlerAnswer:
        """Return the handler's answer to one request.

        Raises:
            ValueError: the handler does not return a list with one element.
        """
        context = self._context
        with stage(PREPROCESS):
            context.begin(data.request_id, data.headers)
        try:
            with stage(INFERENCE):
                answers = self._handle([dict(data.row)], context)
        except PredictionException as error:
            text = {"code": error.error_code, "type": "PredictionException", "message": str(error)}
            return HandlerAnswer(text, _JSON, error.error_code)
        with stage(POSTPROCESS):
            if not isinstance(answers, list | tuple) or len(answers) != 1:
                raise ValueError("the handler must return a list with one element a row")
            return HandlerAnswer(
                answers[0], context.content_type(), context.status(), context.headers()
            )

    def ping(self) -> Any:
        """Do nothing: a handler that loaded its model counts as healthy."""

    @property
    def signature(self) -> Any:
        """None, because the handler reads the request itself."""
        return None

    def _load_entry_point(self, module: ModuleType, function: str) -> EntryPoint:
        """Let the handler load its model; return the callable that answers requests.

        Raises:
            ServiceError: the module has no such function, or without a name not exactly one class
                with a method ``handle``.
        """
        if function:
            handle = getattr(module, function, None)
            if not callable(handle):
                cause = f"{module.__file__} has no function {function}."
                raise ServiceError(cause, fix="name the function in the archive's manifest.")
            handle(None, self._context)
            entry: EntryPoint = handle
            return entry
        classes = [
            value
            for _, value in inspect.getmembers(module, inspect.isclass)
            if value.__module__ == module.__name__ and callable(getattr(value, "handle", None))
        ]
        if len(classes) != 1:
            names = ", ".join(sorted(value.__name__ for value in classes)) or "none"
            raise ServiceError(
                f"{module.__file__} should have one class with a method handle; it has: {names}.",
                fix="name the function in the archive's manifest: file.py:function.",
            )
        service: Any = classes[0]()
        service.initialize(self._context)
        bound: EntryPoint = service.handle
        return bound
