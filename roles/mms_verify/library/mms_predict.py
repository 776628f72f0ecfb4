#!/usr/bin/python
"""Ansible module: ask a model for a prediction, as a client does. Stdlib only."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_predict
short_description: Ask a model for a prediction, as a client does
description:
  - Sends a file as a form field, byte for byte, as C(curl -F) does. (ansible.builtin.uri sends files
    as base64, which servers do not decode, or changes their line ends.) Changes nothing.
options:
  url:
    description: The C(/<model>/predict) address.
    type: str
    required: true
  field:
    description: Name of the form field.
    type: str
    required: true
  file:
    description: The file to send.
    type: path
    required: true
  mime:
    description: Content type of the file.
    type: str
    default: application/octet-stream
  timeout_s:
    description: Seconds to wait for the answer.
    type: int
    default: 60
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Ask for a prediction
  mms_predict:
    url: http://192.0.2.10/digits/predict
    field: data
    file: build/models/images/seven.jpg
  delegate_to: localhost
"""

RETURN = r"""
status:
  description: Status of the answer, always 200; any other fails.
  returned: success
  type: int
json:
  description: The answer.
  returned: success
  type: raw
best:
  description: Class and probability of the most probable class; empty if the answer has none.
  returned: success
  type: dict
"""


class PredictError(Exception):
    """No answer with status 200 came; the text says what did."""


def form(field: str, name: str, mime: str, content: bytes, boundary: str) -> bytes:
    """Return a multipart body with one file."""
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        f"Content-Type: {mime}\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode()


def ask(url: str, body: bytes, boundary: str, timeout_s: int) -> tuple[int, Any]:
    """Return status and JSON of the answer.

    Raises:
        PredictError: no answer, not status 200, or no JSON.
    """
    if not url.startswith(("http://", "https://")):
        message = f"{url} is not an http address."
        raise PredictError(message)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 - as above
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = " ".join(error.read(2000).decode(errors="replace").split())
        message = f"{url} answers {error.code}: {text}"
        raise PredictError(message) from error
    except ValueError as error:
        message = f"{url} does not answer with JSON: {error}"
        raise PredictError(message) from error
    except OSError as error:
        message = f"{url} gives no answer: {error}"
        raise PredictError(message) from error


def best(answer: Any) -> dict[str, Any]:
    """Return the first class of a classification (contract, section 7.3), or nothing."""
    try:
        first = answer["prediction"][0][0]
        return {"class": str(first["class"]), "probability": float(first["probability"])}
    except (KeyError, IndexError, TypeError, ValueError):
        return {}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "field": {"type": "str", "required": True},
            "file": {"type": "path", "required": True},
            "mime": {"type": "str", "default": "application/octet-stream"},
            "timeout_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    file = Path(module.params["file"])
    boundary = secrets.token_hex(16)
    try:
        body = form(
            module.params["field"], file.name, module.params["mime"], file.read_bytes(), boundary
        )
        status, answer = ask(module.params["url"], body, boundary, module.params["timeout_s"])
    except (PredictError, OSError) as error:
        module.fail_json(
            msg=f"{error} Fix: see `journalctl -u nginx -u 'mms*'` on the host, and the model's name"
        )
    module.exit_json(changed=False, status=status, json=answer, best=best(answer))


if __name__ == "__main__":
    main()
