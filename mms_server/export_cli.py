"""The command ``mxnet-model-export`` (contract, section 9)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mms_server.errors import MMSError
from mms_server.export import SUFFIX, export_model


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 if the model cannot be exported."""
    arguments = _parser().parse_args(argv)
    name = arguments.model_name
    try:
        target = export_model(
            name,
            arguments.model_path,
            arguments.service_file_path,
            str(Path(arguments.export_path).expanduser() / (name + SUFFIX)),
        )
    except MMSError as error:
        print(f"mxnet-model-export: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"mxnet-model-export: {error}. Fix: check path and permissions.", file=sys.stderr)
        return MMSError.exit_code
    print(f"Successfully exported model {name} to file {target}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mxnet-model-export",
        description="Pack a model directory (symbol, parameters, signature.json, assets) into a "
        "model archive.",
    )
    parser.add_argument(
        "--model-name", required=True, help="name of the model and of its archive, <name>.model"
    )
    parser.add_argument("--model-path", required=True, help="directory with the model's files")
    parser.add_argument(
        "--service-file-path",
        help="Python file with the service class; by default the vision service for image/jpeg, "
        "the base service for application/json",
    )
    parser.add_argument(
        "--export-path",
        default=".",
        help="directory for the archive (default: the current directory)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
