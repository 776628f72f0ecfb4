"""The command ``mxnet-model-export`` (compatibility.md, 9)."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mms_server.core import console
from mms_server.core.errors import MMSError
from mms_server.export import SUFFIX, export_model

_EXAMPLES = """\
examples:
  mxnet-model-export --model-name resnet-18 --model-path models/resnet-18
      symbol, parameters, signature.json and synset.txt of that directory become resnet-18.model
  mxnet-model-export --model-name ssd --model-path ssd --service-file-path ssd_service.py
      with a service class of your own; a Gluon network is one in such a file
  mxnet-model-export --model-name super --model-path onnx-dir
      a directory with one .onnx file and signature.json
  mxnet-model-export --model-name digits --model-path digits --sample seven.jpg --sample two.jpg
      the archive contains both pictures and the model's answers to them

exit codes: 0 exported, 2 refused; the message says why and what to do
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 if the model cannot be exported."""
    arguments = _parser().parse_args(argv)
    name = arguments.model_name
    report = console.reporter("mxnet-model-export")
    # End by an exception, so that temporary files are removed.
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        target = export_model(
            name,
            arguments.model_path,
            arguments.service_file_path,
            str(Path(arguments.export_path).expanduser() / (name + SUFFIX)),
            sample_files=arguments.sample,
        )
    except MMSError as error:
        report(str(error))
        return MMSError.exit_code
    except OSError as error:
        report(f"{error}. Fix: check path and permissions.")
        return MMSError.exit_code
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"Successfully exported model {name} to file {target}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mxnet-model-export",
        description="Pack a model directory (network, parameters, signature.json, assets) into a "
        "model archive.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    console.add_version(parser)
    parser.add_argument(
        "--model-name", required=True, help="name of the model and of its archive, <name>.model"
    )
    parser.add_argument("--model-path", required=True, help="directory with the model's files")
    parser.add_argument(
        "--service-file-path",
        help="Python file with the service class, also looked for in the model directory; by "
        "default the vision service for image/jpeg, the base service for application/json",
    )
    parser.add_argument(
        "--export-path",
        default=".",
        help="directory for the archive (default: the current directory)",
    )
    parser.add_argument(
        "--sample",
        action="append",
        default=[],
        metavar="FILE",
        help="a picture, or a JSON list with one element per input: the model is run on it, and "
        "input and answer go into the archive to be compared with later (may be given repeatedly)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
