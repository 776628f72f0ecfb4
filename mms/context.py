"""The context of a 1.x handler: properties of the model, of the request, and of the answer.

Names and signatures are those of MXNet Model Server 1.x. ``idx`` is the number of a row in the
batch. Batches have one row here, so every value of ``idx`` means that row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mms.log import get_logger

_OK = 200


class Metrics:
    """Custom metrics of a handler: each is written to the log as one line."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._log = get_logger("metrics")

    def add_counter(self, name: str, value: float, idx: Any = None, dimensions: Any = None) -> None:
        """Log a count."""
        self.add_metric(name, value, idx, "Count", dimensions)

    def add_time(
        self, name: str, value: float, idx: Any = None, unit: str = "ms", dimensions: Any = None
    ) -> None:
        """Log a time in ``ms`` or ``s``."""
        self.add_metric(name, value, idx, unit, dimensions)

    def add_size(
        self, name: str, value: float, idx: Any = None, unit: str = "MB", dimensions: Any = None
    ) -> None:
        """Log a size in ``B``, ``KB``, ``MB`` or ``GB``."""
        self.add_metric(name, value, idx, unit, dimensions)

    def add_percent(self, name: str, value: float, idx: Any = None, dimensions: Any = None) -> None:
        """Log a percentage."""
        self.add_metric(name, value, idx, "Percent", dimensions)

    def add_metric(
        self, name: str, value: Any, idx: Any = None, unit: str = "", dimensions: Any = None
    ) -> None:
        """Log a value in any unit."""
        del idx, dimensions
        self._log.info("%s.%s: %s model=%s", name, unit, value, self._model_name)


class Context:
    """The context of one model, from its load on; settings of an answer end with that answer."""

    def __init__(
        self, model_name: str, model_dir: str, manifest: Mapping[str, Any], gpu: int | None
    ) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.metrics = Metrics(model_name)
        self._properties = {
            "model_dir": model_dir,
            "gpu_id": gpu,
            "batch_size": 1,
            "server_name": "MMS",
            "server_version": "1.0",
        }
        self.begin("", {})

    def begin(self, request_id: str, headers: Mapping[str, str]) -> None:
        """Begin a request and reset the settings of the answer; ``headers`` have lower-case names.

        The server calls it, not a handler.
        """
        self._request_id = request_id
        self._request_headers = dict(headers)
        self._headers: dict[str, str] = {}
        self._content_type = ""
        self._status = _OK

    @property
    def system_properties(self) -> Mapping[str, Any]:
        """``model_dir``, ``gpu_id`` (None: no GPU), ``batch_size``, server name and version."""
        return self._properties

    @property
    def request_ids(self) -> Mapping[int, str]:
        """The id of the request, by row."""
        return {0: self._request_id}

    def get_request_id(self, idx: int = 0) -> str:
        """Return the id of the request, as in the log."""
        del idx
        return self._request_id

    def get_request_header(self, idx: int, key: str) -> str | None:
        """Return a header of the request; None if it was not sent."""
        del idx
        return self._request_headers.get(key.lower())

    def get_all_request_header(self, idx: int) -> dict[str, str]:
        """Return the headers of the request by lower-case name."""
        del idx
        return dict(self._request_headers)

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Set the Content-Type of the answer."""
        del idx
        self._content_type = value

    def get_response_content_type(self, idx: int) -> str | None:
        """Return the Content-Type that was set."""
        del idx
        return self._content_type or None

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Set a header of the answer."""
        if key.lower() == "content-type":
            self.set_response_content_type(idx, value)
        else:
            self._headers[key] = value

    def get_response_headers(self, idx: int) -> dict[str, str]:
        """Return the headers that were set."""
        del idx
        return dict(self._headers)

    def set_response_status(
        self, code: int = _OK, reason_phrase: str | None = None, idx: int = 0
    ) -> None:
        """Set the status of the answer; ``reason_phrase`` has no effect."""
        del reason_phrase, idx
        self._status = int(code)

    def set_all_response_status(self, code: int = _OK, reason_phrase: str | None = None) -> None:
        """Set the status of the answer for every row."""
        self.set_response_status(code, reason_phrase)

    def get_response_status(self, idx: int) -> tuple[int, str]:
        """Return the status that was set, and an empty reason phrase."""
        del idx
        return self._status, ""

    def status(self) -> int:
        """Return the status of the answer."""
        return self._status

    def content_type(self) -> str:
        """Return the Content-Type of the answer; empty if none was set."""
        return self._content_type

    def headers(self) -> Mapping[str, str]:
        """Return the other headers of the answer."""
        return self._headers
