"""Requests made from the OpenAPI document of a running server (schemathesis)."""

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
# The answer is one that the document describes. Whether a body is wrong is the model's to say, and
# the document does not know it, so no check compares the code with how the request was made.
_CHECKS = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.fixture(scope="session")
def operations(server: Server) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.place}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation(operations: list[Any], mode: GenerationMode) -> None:
    """As the document says, and not as it says."""
    assert len(operations) > 20
    for operation in operations:
        if mode is GenerationMode.POSITIVE or _can_be_wrong(operation):
            _exercise(operation.as_strategy(generation_mode=mode))


def _can_be_wrong(operation: Any) -> bool:
    """Whether there is a body or a query: any text is a path parameter."""
    return bool(operation.body) or bool(operation.query)


def _exercise(cases: Any) -> None:
    @settings(max_examples=settings().max_examples // 4)
    @given(case=cases)
    def send(case: Any) -> None:
        if len(str(case.path_parameters.get("name", ""))) % 2:
            # Else hardly any request would mean a model that there is.
            case.path_parameters["name"] = "pair"
        response = case.call(timeout=WAIT_S)
        event(f"answered {response.status_code}")
        kind = response.headers.get("content-type", [""])[0]
        require_honest(response.status_code, kind, response.content, case.method)
        case.validate_response(response, checks=CHECKS.get_by_names(_CHECKS))

    send()
