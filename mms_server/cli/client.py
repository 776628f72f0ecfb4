"""A Python client for this server and for MXNet Model Server 0.4 (compatibility.md, 7).

    from mms_server.cli.client import Client

    client = Client("http://10.77.0.11", timeout_s=10)
    client.predict("digits", Path("seven.jpg"))                      # a picture
    client.predict("pair", {"left": [[1, 2, 3]], "right": [[1, 1, 1]]})  # JSON, by input name

It uses only the routes of 0.4, and needs no MXNet. Several threads can use one client.
"""

from __future__ import annotations

import base64
import html
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as TimedOut

from mms_server.archives.signature import IMAGE
from mms_server.core.errors import MMSError

MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
_CHUNK: Final = 64 * 1024
_OK: Final = 200
_SHOWN: Final = 300

Picture = bytes | Path
Inputs = Picture | Mapping[str, Any] | list[Any]


class ClientError(MMSError):
    """A request failed; ``where()`` is its URL."""

    def __init__(self, url: str, cause: str, *, fix: str = "") -> None:
        self.url = url
        super().__init__(cause, fix=fix)

    def where(self) -> str:
        """Return the URL."""
        return self.url


class BadRequestError(ClientError):
    """The model does not accept such an input; nothing was sent."""


class UnreachableError(ClientError):
    """There was no answer: no server, or a broken connection."""

    exit_code: ClassVar[int] = 4


class AnswerTimeoutError(UnreachableError):
    """There was no complete answer in time."""


class AnswerError(ClientError):
    """The server answered with an error: its HTTP ``status`` and its own ``text``."""

    exit_code: ClassVar[int] = 1

    def __init__(self, url: str, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(url, f"the server answered {status}: {text}")


class ModelNotFoundError(AnswerError):
    """404: the server does not serve this model."""


class NotReadyError(AnswerError):
    """502, 503 or 504: the server cannot answer now; a later request may succeed."""


@dataclass(frozen=True)
class Input:
    """An input of a model; ``is_picture``: it is an encoded picture, otherwise JSON."""

    name: str
    is_picture: bool


class Client:
    """Requests to one server; ``timeout_s`` bounds each, from connecting to the last byte."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 60.0,
        pool: urllib3.PoolManager | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BadRequestError(
                url, "this is no URL of a server.", fix="give http://HOST[:PORT]."
            )
        self.url = parts.geturl().rstrip("/")
        self._timeout_s = timeout_s
        self._pool = pool or urllib3.PoolManager(retries=False, maxsize=8)
        self._clock = clock

    def ping(self) -> bool:
        """Return whether the server reports that it is healthy.

        Raises:
            ClientError: the request failed.
        """
        try:
            answer = self._ask("GET", "/ping")
        except NotReadyError:
            return False
        return isinstance(answer, dict) and answer.get("health") == "healthy!"

    def models(self) -> dict[str, tuple[Input, ...]]:
        """Return the served models, with their inputs.

        Raises:
            ClientError: the request failed.
        """
        described = self._ask("GET", "/api-description")
        try:
            paths: dict[str, Any] = described["description"]["paths"]
            return {
                path.removeprefix("/").removesuffix("/predict"): _inputs(methods["post"])
                for path, methods in paths.items()
                if path.endswith("/predict")
            }
        except (KeyError, TypeError, AttributeError) as error:
            url = f"{self.url}/api-description"
            cause = "the answer describes no API."
            raise UnreachableError(url, cause, fix="is it a model server?") from error

    def inputs(self, model: str) -> tuple[Input, ...]:
        """Return the inputs of a model.

        Raises:
            ModelNotFoundError: the model is not served.
            ClientError: the request failed.
        """
        served = self.models()
        if model not in served:
            text = f"no model {model}; served are: {', '.join(sorted(served)) or 'none'}."
            raise ModelNotFoundError(f"{self.url}/{model}/predict", 404, text)
        return served[model]

    def predict(self, model: str, inputs: Inputs) -> Any:
        """Return a prediction: the result of the model's service class, as JSON values.

        ``inputs`` maps input names to pictures (bytes, or the Path of a file) or to lists (nested
        numbers, the batch dimension included). For a model with one input the value alone is
        enough; the client then requests the input's name from the server.

        Raises:
            BadRequestError: the inputs cannot be sent.
            AnswerError: the server refused the inputs, or failed.
            UnreachableError: there was no answer, or not in time.
        """
        named = inputs if isinstance(inputs, Mapping) else {self._only(model): inputs}
        fields = {name: self._field(model, name, value) for name, value in named.items()}
        return self._post(model, {"fields": fields, "encode_multipart": True})

    def predict_base64(self, model: str, picture: Picture, field: str = "data") -> Any:
        """Return a prediction for a picture that is sent as base64 text.

        Raises:
            ClientError: as for :meth:`predict`.
        """
        packed = base64.b64encode(self._bytes(model, picture)).decode()
        return self._post(model, {"fields": {field: packed}, "encode_multipart": False})

    def _only(self, model: str) -> str:
        found = self.inputs(model)
        if len(found) != 1:
            cause = f"model {model} has {len(found)} inputs."
            names = ", ".join(row.name for row in found)
            raise BadRequestError(self.url, cause, fix=f"give them by name: {names}.")
        return found[0].name

    def _field(self, model: str, name: str, value: Any) -> Any:
        if isinstance(value, bytes | Path):
            file_name = value.name if isinstance(value, Path) else f"{name}.jpg"
            return file_name, self._bytes(model, value), IMAGE
        try:
            return json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            cause = f"input {name} is no JSON: {error}."
            fix = "give a list of numbers (an array's tolist()), or a picture as bytes or Path."
            raise BadRequestError(self._predict_url(model), cause, fix=fix) from error

    def _bytes(self, model: str, picture: Picture) -> bytes:
        if isinstance(picture, bytes):
            return picture
        try:
            return picture.read_bytes()
        except OSError as error:
            cause = f"{picture} cannot be read: {error.strerror}."
            raise BadRequestError(self._predict_url(model), cause, fix="check the path.") from error

    def _predict_url(self, model: str) -> str:
        return f"{self.url}/{quote(model)}/predict"

    def _post(self, model: str, form: Mapping[str, Any]) -> Any:
        answer = self._ask("POST", f"/{quote(model)}/predict", form)
        try:
            return answer["prediction"]
        except (KeyError, TypeError) as error:
            cause = "the answer holds no prediction."
            url = self._predict_url(model)
            raise UnreachableError(url, cause, fix="is it a model server?") from error

    def _ask(self, method: str, path: str, form: Mapping[str, Any] | None = None) -> Any:
        url = self.url + path
        try:
            status, data = self._exchange(method, url, form or {})
        except HTTPError as error:
            # In urllib3, the error of a refused connection is a subclass of the time-out.
            if isinstance(error, TimedOut) and not isinstance(error, NewConnectionError):
                raise self._late(url) from error
            cause = f"no answer: {str(error).rpartition(': ')[2]}."
            raise UnreachableError(url, cause, fix="check the address, and the server.") from error
        if status != _OK:
            raise _failure(url, status, data)
        try:
            return json.loads(data)
        except ValueError as error:
            cause = "the answer is no JSON."
            raise UnreachableError(url, cause, fix="is it a model server?") from error

    def _exchange(self, method: str, url: str, form: Mapping[str, Any]) -> tuple[int, bytes]:
        deadline = self._clock() + self._timeout_s
        answer = self._pool.request(
            method,
            url,
            headers={"Accept": "application/json"},
            timeout=urllib3.Timeout(total=self._timeout_s),
            preload_content=False,
            redirect=False,
            **form,
        )
        try:
            data = self._read(url, answer, deadline)
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return answer.status, data

    def _read(self, url: str, answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        data = bytearray()
        for chunk in answer.stream(_CHUNK):
            data += chunk
            if self._clock() > deadline:
                raise self._late(url)
            if len(data) > MAX_ANSWER_BYTES:
                raise UnreachableError(url, f"the answer has more than {MAX_ANSWER_BYTES} bytes.")
        return bytes(data)

    def _late(self, url: str) -> AnswerTimeoutError:
        cause = f"no whole answer within {self._timeout_s:g} s."
        return AnswerTimeoutError(url, cause, fix="give it more time, or look at the server.")


def _inputs(operation: Mapping[str, Any]) -> tuple[Input, ...]:
    rows = operation.get("parameters", ())
    return tuple(
        Input(row["name"], row.get("type") == "file") for row in rows if row["in"] == "formData"
    )


def _failure(url: str, status: int, data: bytes) -> AnswerError:
    text = _error_text(data.decode("utf-8", "replace"))
    if status == 404:  # noqa: PLR2004 - HTTP's own numbers
        return ModelNotFoundError(url, status, text)
    if status in {502, 503, 504}:
        return NotReadyError(url, status, text)
    return AnswerError(url, status, text)


def _error_text(body: str) -> str:
    """Return the text of an error: from this server's JSON, 0.4's page, or nginx's page."""
    try:
        return str(json.loads(body)["error"]["text"])
    except (ValueError, KeyError, TypeError):
        pass
    found = re.search(r"<p>(.*?)</p>", body, re.DOTALL) or re.search(r"<title>(.*?)</title>", body)
    text = html.unescape(found[1]) if found else body
    return " ".join(text.split())[:_SHOWN]
