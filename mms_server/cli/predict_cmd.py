"""``mms-predict``: request a prediction from a model server."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mms_server.cli.client import BadRequestError, Client
from mms_server.core import console
from mms_server.core.errors import MMSError

_EPILOG: Final = """\
examples:
  mms-predict http://10.77.0.11 resnet-18 kitten.jpg
  mms-predict http://10.77.0.11 pair --json '{"left": [[1, 2, 3]], "right": [[1, 1, 1]]}'
  mms-predict http://10.77.0.11                     (lists the models)

exit codes: 0 answered, 1 the server answered with an error, 2 bad input, 4 no answer (in time)"""
_DEFAULT_TIMEOUT_S: Final = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """Request and print a prediction as JSON; return the exit code."""
    given = _parser().parse_args(argv)
    try:
        answer = _answer(given)
    except MMSError as error:
        console.reporter("mms-predict")(str(error))
        return error.exit_code
    print(json.dumps(answer, indent=2))
    return 0


def _answer(given: argparse.Namespace) -> Any:
    client = Client(given.url, timeout_s=given.timeout)
    if given.model is None:
        return {
            name: [row.name for row in inputs] for name, inputs in sorted(client.models().items())
        }
    if (given.picture is None) == (given.json is None):
        cause = "one input is needed."
        raise BadRequestError(given.url, cause, fix="give the file of a picture, or --json TEXT.")
    if given.picture is not None:
        return client.predict(given.model, Path(given.picture))
    try:
        inputs = json.loads(given.json)
    except ValueError as error:
        cause = f"--json: {error}."
        raise BadRequestError(given.url, cause, fix="write JSON, in single quotes.") from error
    if not isinstance(inputs, dict | list):
        cause = "--json: it is neither a list nor an object."
        raise BadRequestError(given.url, cause, fix="give a list, or lists by input name.")
    return client.predict(given.model, inputs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mms-predict",
        description="Request a prediction from a model server and print it as JSON.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    console.add_version(parser)
    add = parser.add_argument
    add("url", metavar="URL", help="the server: http://HOST[:PORT]")
    add("model", metavar="MODEL", nargs="?", help="endpoint name; without it, list the models")
    add("picture", metavar="FILE", nargs="?", help="a picture, for a model with one input")
    add("--json", metavar="TEXT", help="a list (one input), or an object of lists by input name")
    add(
        "--timeout",
        type=_seconds,
        default=_DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help="longest wait for one answer (default: %(default)g)",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
