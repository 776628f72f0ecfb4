"""One table of all refusals: what a client gets instead of an answer, and why.

A new reason for refusing a request is an error class in :mod:`mms_server.core.errors` and one row
here. These follow from the row: the HTTP status, the ``type`` of 1.x, the texts of the control
application and of nginx, the error pages in ``nginx.conf``, the OpenAPI document, and the table in
``docs/http_api.md``. ``tools/refusal_tables.py`` writes that table and the variables from which the
role nginx_proxy makes ``nginx.conf``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import Final

from mms_server.core import errors

INTERNAL: Final = "InternalServerException"
"""The ``type`` of 1.x for errors that have none of their own."""


class Routes(Flag):
    """Routes whose OpenAPI operations list a refusal."""

    NONE = 0
    PREDICTION = auto()
    GET = auto()
    METRICS = auto()


class NginxStage(Enum):
    """The step of a request at which nginx refuses it."""

    REQUEST = "request"
    """nginx refuses the request before it passes it on."""

    ADMISSION = "admission"
    """The control application says that the answer would come after the client's deadline."""

    UPSTREAM = "upstream"
    """The worker gave no answer."""


@dataclass(frozen=True)
class Refusal:
    """One row.

    ``error`` is None where only nginx or the control application refuses. ``when`` is the line in
    the documentation. ``openapi`` is the description of the status in the OpenAPI document, for the
    operations of ``routes``; it is empty where another row of the same status has it.

    ``nginx`` is set where nginx refuses. nginx then asks the control application for the page, with
    ``proxy_error`` as the value of ``X-Mms-Error``. If ``proxy_error`` is empty, nginx answers by
    itself, so that a flood of refusals reaches nobody else. ``text`` is the text in both cases.

    ``mms1_type`` is the ``type`` of 1.x, empty where no client of 1.x sees one. ``mms04_text`` is
    the text that 0.4 gave whatever the cause: clients compare it. ``challenge`` is the value of
    ``WWW-Authenticate``. ``retry_after`` tells whether the answer has ``Retry-After``.
    ``client_fault`` tells whether the client caused the refusal.
    """

    error: type[errors.RequestError] | None
    status: int
    when: str
    mms1_type: str = INTERNAL
    openapi: str = ""
    routes: Routes = Routes.NONE
    nginx: NginxStage | None = None
    proxy_error: str = ""
    text: str = ""
    mms04_text: str = ""
    challenge: str = ""
    client_fault: bool = False
    retry_after: bool = False


_UNAVAILABLE: Final = "ServiceUnavailableException"
_EVERYWHERE: Final = Routes.PREDICTION | Routes.GET | Routes.METRICS
_NOT_FOUND: Final = (
    "The requested URL was not found on the server.  If you entered the URL manually please check "
    "your spelling and try again."
)

DEADLINE_EXCEEDED: Final = Refusal(
    errors.LateError,
    503,
    "the answer would come after the client's deadline: see [time limits](#time-limits)",
    mms1_type=_UNAVAILABLE,
    nginx=NginxStage.ADMISSION,
    proxy_error="deadline_exceeded",
    text="The queue was too long for the request's time limit.",
    retry_after=True,
)
BACKLOG_FULL: Final = Refusal(
    None,
    503,
    "`max_queue` requests wait for the model; `queue` in the body has the numbers",
    mms1_type=_UNAVAILABLE,
    retry_after=True,
)
WORKER_DIED: Final = Refusal(
    None,
    502,
    "the model's server ended before it answered, twice; the text names the certificate, `mms why` "
    "tells more",
    openapi="The server behind the proxy ended before it answered.",
    routes=_EVERYWHERE,
    nginx=NginxStage.UPSTREAM,
    proxy_error="502",
    text="The server of the model ended before it answered.",
)
FAILED: Final = Refusal(
    errors.PredictionError,
    500,
    "the model failed on this request, or answered more than 256 MiB; the log tells under the "
    "request id",
    openapi="The model failed on this request.",
    routes=Routes.PREDICTION,
)

REFUSALS: Final = (
    Refusal(
        errors.BadInputError,
        400,
        "an input is missing, or is not a picture, a list or a tensor as the model takes it",
        mms1_type="BadRequestException",
        openapi="The request is not what the route or the model takes.",
        routes=_EVERYWHERE,
        client_fault=True,
    ),
    Refusal(
        None,
        401,
        "the host requires a key (`nginx_proxy_require_key`), and the request has no valid one",
        mms1_type="UnauthorizedException",
        nginx=NginxStage.REQUEST,
        text="A valid key is needed: send it as Authorization: Bearer KEY, or as X-Api-Key.",
        challenge="Bearer",
        client_fault=True,
    ),
    Refusal(
        None,
        403,
        "the client's address is on no allow-list for `/metrics`, or for descriptions of models; "
        "nginx answers with its own page",
        mms1_type="",
        openapi="nginx does not let this client read it.",
        routes=Routes.METRICS,
        client_fault=True,
    ),
    Refusal(
        errors.NotFoundError,
        404,
        "no such path, or no such version of the model",
        mms1_type="ResourceNotFoundException",
        openapi="There is no such model, or not in this version.",
        routes=_EVERYWHERE,
        mms04_text=_NOT_FOUND,
        client_fault=True,
    ),
    Refusal(
        errors.ModelNotFoundError,
        404,
        "no such model",
        mms1_type="ModelNotFoundException",
        mms04_text=_NOT_FOUND,
        client_fault=True,
    ),
    Refusal(
        None,
        405,
        "the path does not take this method; `Allow` has those that it takes",
        mms1_type="MethodNotAllowedException",
        mms04_text="The method is not allowed for the requested URL.",
        client_fault=True,
    ),
    Refusal(
        errors.RequestTimeoutError,
        408,
        "the body came too slowly",
        mms1_type="RequestTimeoutException",
        openapi="The body did not arrive in time.",
        routes=Routes.PREDICTION,
        client_fault=True,
    ),
    Refusal(
        errors.LengthRequiredError,
        411,
        "the body came in chunks, to a server without nginx",
        mms1_type="LengthRequiredException",
        openapi="The body comes in chunks, without a Content-Length.",
        routes=Routes.PREDICTION,
        client_fault=True,
    ),
    Refusal(
        errors.BodyTooLargeError,
        413,
        "the body is over the limit (64 MiB unless set), a picture has too many pixels, or JSON "
        "has too many elements",
        mms1_type="RequestEntityTooLargeException",
        openapi="The body, or a picture in it, is too large.",
        routes=Routes.PREDICTION,
        nginx=NginxStage.REQUEST,
        proxy_error="413",
        text="The request body is larger than the limit.",
        client_fault=True,
    ),
    Refusal(
        errors.QuarantinedError,
        422,
        "the model's server died twice on this very input, so it is refused; the text names the "
        "death certificate",
        mms1_type="QuarantinedRequestException",
        # Not the client's fault: an input that ends the process is a fault of the model's code.
        openapi="The model's processes died twice on this input; the text names the certificate.",
        routes=Routes.PREDICTION,
    ),
    Refusal(
        None,
        429,
        "there are more requests than a limit of nginx allows ([edge.md](edge.md#limits))",
        mms1_type="TooManyRequestsException",
        nginx=NginxStage.REQUEST,
        text="There are more requests than the limit: try again later, see Retry-After.",
        client_fault=True,
        retry_after=True,
    ),
    Refusal(
        errors.ClientGoneError,
        499,
        "the client closed its connection before its request was computed; only metrics and the "
        "log have it",
        mms1_type="",
        client_fault=True,
    ),
    FAILED,
    WORKER_DIED,
    Refusal(
        errors.UnavailableError,
        503,
        "the model is known and not ready",
        mms1_type=_UNAVAILABLE,
        openapi="The model is not ready.",
        routes=Routes.PREDICTION | Routes.GET,
    ),
    BACKLOG_FULL,
    DEADLINE_EXCEEDED,
    Refusal(
        errors.PredictionTimeoutError,
        504,
        "the prediction took longer than the limit",
        mms1_type="PredictionTimeoutException",
        openapi="The prediction took too long.",
        routes=_EVERYWHERE,
        nginx=NginxStage.UPSTREAM,
        proxy_error="504",
        text="The prediction was not ready in time.",
    ),
)
"""By status; of several rows with one status, the first is the general one."""


def of_error(error: Exception) -> Refusal:
    """Return the row of an error's class, else of its nearest base class; else that of 500."""
    rows = {row.error: row for row in REFUSALS if row.error}
    found = [rows[kind] for kind in type(error).__mro__ if kind in rows]
    return found[0] if found else FAILED


def of_status(status: int) -> Refusal:
    """Return the general row of a status; that of 500 if the table has none."""
    return next((row for row in REFUSALS if row.status == status), FAILED)


def of_proxy_error(name: str) -> Refusal | None:
    """Return the row whose page nginx asks for by this name, None if there is none."""
    return next((row for row in REFUSALS if row.proxy_error and row.proxy_error == name), None)


def status_of(error: Exception) -> int:
    """Return the HTTP status that an error becomes; 500 for any that is not in the table."""
    return of_error(error).status


def descriptions(routes: Routes) -> dict[int, str]:
    """Return the descriptions of the statuses that these routes may answer, for OpenAPI."""
    found: dict[int, str] = {}
    for row in REFUSALS:
        if row.openapi and routes in row.routes:
            found[row.status] = f"{found.get(row.status, '')} {row.openapi}".lstrip()
    return found


def of_nginx() -> list[tuple[NginxStage, Refusal]]:
    """Return the rows of refusals that nginx finds, each with its stage."""
    return [(row.nginx, row) for row in REFUSALS if row.nginx]
