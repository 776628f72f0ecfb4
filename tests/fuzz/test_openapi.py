"""Fuzz tests with requests generated from the server's OpenAPI document, by schemathesis."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import event, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from tests.fixtures.servers import Server
from tests.fuzz.answers import require_honest

WAIT_S = 10.0
# Answers must be described by the document. Only the model knows whether a body is valid, so no
# check compares the status with whether the request was generated as valid.
_CHECKS = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.fixture(scope="session")
def operations(server: Server) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.place}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation(operations: list[Any], mode: GenerationMode) -> None:
    """Send valid and invalid requests to every operation."""
    assert len(operations) > 20
    for operation in operations:
        if mode is GenerationMode.POSITIVE or _can_be_wrong(operation):
            _exercise(operation.as_strategy(generation_mode=mode))


def _can_be_wrong(operation: Any) -> bool:
    """Return whether a request can be invalid: any text is a valid path parameter."""
    return bool(operation.body) or bool(operation.query)


def _exercise(cases: Any) -> None:
    @settings(max_examples=settings().max_examples // 4)
    @given(case=cases)
    def send(case: Any) -> None:
        if len(str(case.path_parameters.get("name", ""))) % 2:
            # Otherwise hardly any request would name an existing model.
            case.path_parameters["name"] = "pair"
        response = case.call(timeout=WAIT_S)
        event(f"answered {response.status_code}")
        kind = response.headers.get("content-type", [""])[0]
        require_honest(response.status_code, kind, response.content, case.method)
        case.validate_response(response, checks=CHECKS.get_by_names(_CHECKS))

    send()
