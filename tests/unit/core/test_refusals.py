"""The table of refusals, and what is made from it."""

from __future__ import annotations

import pytest

from mms_server.core import errors, refusals
from mms_server.core.refusals import FAILED, REFUSALS, Routes, descriptions, of_error, of_status
from tools import refusal_tables


def test_the_role_and_the_documents_have_the_rows_of_the_table() -> None:
    for file, text in refusal_tables.texts().items():
        assert file.read_text(encoding="utf-8") == text


def test_every_error_of_a_request_has_a_row() -> None:
    pending, found = [errors.RequestError], list[type[errors.RequestError]]()
    while pending:
        kinds = pending.pop().__subclasses__()
        found += [kind for kind in kinds if kind.__module__ == errors.__name__]
        pending += kinds
    assert set(found) - {errors.RefusedError} == {row.error for row in REFUSALS if row.error}


def test_rows_are_sorted_and_the_first_of_a_status_is_the_general_one() -> None:
    statuses = [row.status for row in REFUSALS]
    assert statuses == sorted(statuses)
    assert of_status(404).error is errors.NotFoundError
    assert of_status(503).error is errors.UnavailableError
    assert of_status(418) is FAILED


def test_a_fault_of_the_client_is_no_5xx() -> None:
    assert all(row.status < 500 for row in REFUSALS if row.client_fault)


def test_names_that_nginx_gives_to_errors_are_unique() -> None:
    names = [row.proxy_error for row in REFUSALS if row.proxy_error]
    assert len(set(names)) == len(names)
    assert [refusals.of_proxy_error(name) for name in names] == [
        row for row in REFUSALS if row.proxy_error
    ]
    assert refusals.of_proxy_error("") is None


def test_a_text_of_nginx_stands_between_quotes() -> None:
    for _stage, row in refusals.of_nginx():
        assert row.text
        assert not set(row.text) & set('"\\$\n')
        if not row.proxy_error:
            assert "'" not in row.text


def test_the_row_of_a_subclass_is_its_own_or_its_parents() -> None:
    class OddInputError(errors.BadInputError):
        pass

    assert of_error(OddInputError("x")) is of_status(400)
    assert of_error(errors.ModelNotFoundError("x")).mms1_type == "ModelNotFoundException"
    assert of_error(KeyError("x")) is FAILED
    assert of_error(errors.ServiceError("x")) is FAILED


def test_a_status_has_one_description_made_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert descriptions(Routes.METRICS).keys() == {400, 403, 404, 502, 504}
    assert descriptions(Routes.GET)[503] == "The model is not ready."
    more = refusals.Refusal(None, 503, "w", openapi="It rains.", routes=Routes.GET)
    monkeypatch.setattr(refusals, "REFUSALS", (*REFUSALS, more))
    assert descriptions(Routes.GET)[503] == "The model is not ready. It rains."


def test_what_is_refused_before_it_is_computed_is_a_refused_error() -> None:
    failures = {errors.PredictionError, errors.PredictionTimeoutError}
    kinds = {row.error for row in REFUSALS if row.error}
    assert {kind for kind in kinds if not issubclass(kind, errors.RefusedError)} == failures
