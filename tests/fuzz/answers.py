"""What any answer of the server may be, whatever was asked."""

from __future__ import annotations

import html
import json

from tests.fixtures.servers import Answer

_CLIENT = {400, 404, 405, 408, 411, 413, 414, 417, 431}
_MODELS_OWN = "Error occurs while inference was executed on server."


def require_honest(status: int, content_type: str, body: bytes, method: str = "POST") -> None:
    """Require an answer that blames who is at fault: no 5xx that is not the model's own.

    Raises:
        AssertionError: it is none.
    """
    if method == "HEAD":
        return
    if status >= 500:
        assert status == 500, (status, body)
        assert _MODELS_OWN in html.unescape(body.decode()), body
    else:
        assert status == 200 or status in _CLIENT, (status, body)
    if content_type.startswith("application/json"):
        json.loads(body)


def honest(answer: Answer, method: str = "POST") -> Answer:
    require_honest(answer.status, answer.headers.get("Content-Type", ""), answer.body, method)
    return answer
