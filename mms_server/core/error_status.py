"""The HTTP status that each error becomes."""

from __future__ import annotations

from typing import Final

from mms_server.core import errors

ERROR_STATUS: Final[dict[type[errors.MMSError], int]] = {
    errors.BadInputError: 400,
    errors.NotFoundError: 404,
    errors.RequestTimeoutError: 408,
    errors.LengthRequiredError: 411,
    errors.BodyTooLargeError: 413,
    errors.QuarantinedError: 422,
    errors.ClientGoneError: 499,
    errors.PredictionError: 500,
    errors.UnavailableError: 503,
    errors.PredictionTimeoutError: 504,
}

SERVER_ERROR: Final = 500


def status_of(error: Exception) -> int:
    """Return the HTTP status that an error becomes; 500 for any that is not in the table."""
    found = [ERROR_STATUS[kind] for kind in type(error).__mro__ if kind in ERROR_STATUS]
    return found[0] if found else SERVER_ERROR
