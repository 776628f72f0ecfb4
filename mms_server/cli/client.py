"""A client in Python, for servers of this project and of MXNet Model Server 0.4 (contract, 7).

    from mms_server.cli.client import Client

    client = Client("http://10.77.0.11", timeout_s=10)
    client.predict("digits", Path("seven.jpg"))                      # a picture
    client.predict("pair", {"left": [[1, 2, 3]], "right": [[1, 1, 1]]})  # JSON, by input name

It uses the routes of 0.4 only. It needs no MXNet; a client can be used by several threads.
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
    """A question was not answered as it should be; ``where()`` is its URL."""

    def __init__(self, url: str, cause: str, *, fix: str = "") -> None:
        self.url = url
        super().__init__(cause, fix=fix)

    def where(self) -> str:
        """Return the URL."""
        return self.url


class BadRequestError(ClientError):
    """What was to be sent is not what the model takes; nothing was sent."""


class UnreachableError(ClientError):
    """No answer came: no server, a broken connection."""

    exit_code: ClassVar[int] = 4


class AnswerTimeoutError(UnreachableError):
    """No whole answer came in time."""


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
    """502, 503 or 504: it could not answer now; the same question may be answered later."""


@dataclass(frozen=True)
class Input:
    """An input of a model; ``is_picture`` says whether it takes an encoded picture, else JSON."""

    name: str
    is_picture: bool


class Client:
    """Asks one server; ``timeout_s`` bounds each question, from connecting to the last byte."""

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
        """Return whether the server says that it is healthy.

        Raises:
            ClientError: it cannot be asked.
        """
        try:
            answer = self._ask("GET", "/ping")
        except NotReadyError:
            return False
        return isinstance(answer, dict) and answer.get("health") == "healthy!"

    def models(self) -> dict[str, tuple[Input, ...]]:
        """Return the models that are served, with their inputs.

        Raises:
            ClientError: the server cannot be asked.
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
            ModelNotFoundError: it is not served.
            ClientError: the server cannot be asked.
        """
        served = self.models()
        if model not in served:
            text = f"no model {model}; served are: {', '.join(sorted(served)) or 'none'}."
            raise ModelNotFoundError(f"{self.url}/{model}/predict", 404, text)
        return served[model]

    def predict(self, model: str, inputs: Inputs) -> Any:
        """Return a prediction: what the model's service class made, as JSON values.

        ``inputs`` maps input names to pictures (bytes, or the Path of a file) or to lists (nested
        numbers, the batch dimension included). For a model with one input the value alone will do;
        the server is asked for its name then.

        Raises:
            BadRequestError: the inputs cannot be sent.
            AnswerError: the server refused them, or failed on them.
            UnreachableError: no answer came, or not in time.
        """
        named = inputs if isinstance(inputs, Mapping) else {self._only(model): inputs}
        fields = {name: self._field(model, name, value) for name, value in named.items()}
        return self._post(model, {"fields": fields, "encode_multipart": True})

    def predict_base64(self, model: str, picture: Picture, field: str = "data") -> Any:
        """Return a prediction for a picture that is sent as text, in base64.

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
            # To urllib3, a connection that is refused is one that came too late.
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
    """Return the text of an error: of ours in JSON, or of 0.4's page, or of nginx's."""
    try:
        return str(json.loads(body)["error"]["text"])
    except (ValueError, KeyError, TypeError):
        pass
    found = re.search(r"<p>(.*?)</p>", body, re.DOTALL) or re.search(r"<title>(.*?)</title>", body)
    text = html.unescape(found[1]) if found else body
    return " ".join(text.split())[:_SHOWN]
