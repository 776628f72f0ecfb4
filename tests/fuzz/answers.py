"""The check of every answer in the fuzz tests: status, error text, and valid JSON."""

from __future__ import annotations

import html
import json

from tests.fixtures.servers import Answer

_CLIENT_ERRORS = {400, 404, 405, 408, 411, 413, 414, 417, 431}
_MODEL_ERROR = "Error occurs while inference was executed on server."


def require_honest(status: int, content_type: str, body: bytes, method: str = "POST") -> None:
    """Require 200, a client error, or 500 with the text for an error of the model.

    Raises:
        AssertionError: the answer is another one, or its JSON is not valid.
    """
    if method == "HEAD":
        return
    if status >= 500:
        assert status == 500, (status, body)
        assert _MODEL_ERROR in html.unescape(body.decode()), body
    else:
        assert status == 200 or status in _CLIENT_ERRORS, (status, body)
    if content_type.startswith("application/json"):
        json.loads(body)


def require_honest_answer(answer: Answer, method: str = "POST") -> Answer:
    """Return the answer if :func:`require_honest` accepts it."""
    require_honest(answer.status, answer.headers.get("Content-Type", ""), answer.body, method)
    return answer
