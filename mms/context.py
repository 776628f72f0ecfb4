"""The context of a 1.x handler (contract, section 17): what it may ask, and say of its answer.

``idx`` is a row's number in the batch; batches have one row, so whatever it is, that row is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mms.log import get_logger

_OK = 200


class Metrics:
    """Takes a handler's own metrics: they go to the log, a line each."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._log = get_logger("metrics")

    def add_counter(self, name: str, value: float, idx: Any = None, dimensions: Any = None) -> None:
        """Note a count."""
        self.add_metric(name, value, idx, "Count", dimensions)

    def add_time(
        self, name: str, value: float, idx: Any = None, unit: str = "ms", dimensions: Any = None
    ) -> None:
        """Note a time in ``ms`` or ``s``."""
        self.add_metric(name, value, idx, unit, dimensions)

    def add_size(
        self, name: str, value: float, idx: Any = None, unit: str = "MB", dimensions: Any = None
    ) -> None:
        """Note a size in ``B``, ``KB``, ``MB`` or ``GB``."""
        self.add_metric(name, value, idx, unit, dimensions)

    def add_percent(self, name: str, value: float, idx: Any = None, dimensions: Any = None) -> None:
        """Note a percentage."""
        self.add_metric(name, value, idx, "Percent", dimensions)

    def add_metric(
        self, name: str, value: Any, idx: Any = None, unit: str = "", dimensions: Any = None
    ) -> None:
        """Note a value in a unit of its own."""
        del idx, dimensions
        self._log.info("%s.%s: %s model=%s", name, unit, value, self._model_name)


class Context:
    """One model's context, from its loading on; what is said of an answer holds for that answer."""

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
        """Begin a request; ``headers`` have lower-case names."""
        self._request_id = request_id
        self._request_headers = dict(headers)
        self._headers: dict[str, str] = {}
        self._content_type = ""
        self._status = _OK

    @property
    def system_properties(self) -> Mapping[str, Any]:
        """``model_dir``, ``gpu_id`` (None without a GPU), ``batch_size`` and the server's name."""
        return self._properties

    @property
    def request_ids(self) -> Mapping[int, str]:
        """The request's id by row."""
        return {0: self._request_id}

    def get_request_id(self, idx: int = 0) -> str:
        """Return the id that the log names the request by."""
        del idx
        return self._request_id

    def get_request_header(self, idx: int, key: str) -> str | None:
        """Return a header of the request, None if it was not sent."""
        del idx
        return self._request_headers.get(key.lower())

    def get_all_request_header(self, idx: int) -> dict[str, str]:
        """Return the request's headers, by their lower-case names."""
        del idx
        return dict(self._request_headers)

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Answer with this Content-Type."""
        del idx
        self._content_type = value

    def get_response_content_type(self, idx: int) -> str | None:
        """Return the Content-Type that was set."""
        del idx
        return self._content_type or None

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Answer with this header."""
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
        """Answer with this status; the phrase is not sent, HTTP has one for each status."""
        del reason_phrase, idx
        self._status = int(code)

    def set_all_response_status(self, code: int = _OK, reason_phrase: str | None = None) -> None:
        """Answer every row with this status."""
        self.set_response_status(code, reason_phrase)

    def get_response_status(self, idx: int) -> tuple[int, str]:
        """Return the status that was set, and no phrase."""
        del idx
        return self._status, ""

    def status(self) -> int:
        """Return the answer's status."""
        return self._status

    def content_type(self) -> str:
        """Return the answer's Content-Type, empty if none was set."""
        return self._content_type

    def headers(self) -> Mapping[str, str]:
        """Return the answer's other headers."""
        return self._headers
