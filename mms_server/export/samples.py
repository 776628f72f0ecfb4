"""Golden samples of the exporter: read ``--sample`` files, and record the model's answers."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from mms_server.archives import golden_samples
from mms_server.archives.signature import IMAGE, Signature
from mms_server.core.errors import ArchiveError
from mms_server.core.files import FileTooLargeError, read_whole
from mms_server.export import child_process
from mms_server.export.packer import Members

_TIMEOUT_S = 600.0
_JSON_START = b"["


def read(file: Path, signature: Signature) -> golden_samples.Sample:
    """Return the inputs in ``file``: an image, or a JSON list with one element per input.

    An element of the list is base64 text for an image, and a list for any other input.

    Raises:
        ArchiveError: the content of the file does not match the signature.
    """
    try:
        data = read_whole(file, golden_samples.MAX_INPUT_BYTES)
    except OSError as error:
        raise ArchiveError(
            file, f"this sample cannot be read: {error.strerror}.", fix="check the path."
        ) from error
    except FileTooLargeError as error:
        raise ArchiveError(
            file,
            f"it has more than {golden_samples.MAX_INPUT_BYTES} bytes.",
            fix="take a smaller sample.",
        ) from error
    image = signature.input_type == IMAGE
    if image and not data.lstrip().startswith(_JSON_START):
        return golden_samples.Sample(_require_count(file, [data], signature))
    inputs = _require_count(file, _parse_list(file, data), signature)
    return golden_samples.Sample(tuple(_decode_input(file, one, image=image) for one in inputs))


def record(
    files: list[Path], signature: Signature, members: Members, scratch: Path
) -> dict[str, bytes]:
    """Return the archive members that hold these samples and the model's answers to them.

    The model runs as on a server, from ``members`` unpacked into the new directory ``scratch``.

    Raises:
        MMSError: a sample does not match the signature, or the model answers it differently the
            second time.
    """
    samples = [read(file, signature) for file in files]
    scratch.mkdir()
    readable = {scratch}
    for name, content in {**members, **golden_samples.encode(samples)}.items():
        target = scratch / name.rpartition("/")[2]
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.symlink_to(content.absolute())
            readable.add(content.absolute())
    answers = child_process.run(
        child_process.SAMPLES,
        str(scratch),
        where=files[0],
        timeout_s=_TIMEOUT_S,
        readable=sorted(readable),
    )
    return golden_samples.encode(
        [
            golden_samples.Sample(sample.inputs, answer, sample.tolerance)
            for sample, answer in zip(samples, answers, strict=True)
        ]
    )


def _parse_list(file: Path, data: bytes) -> list[Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(file, f"this sample is not JSON: {error}.", fix="correct it.") from error
    if not isinstance(value, list):
        raise ArchiveError(
            file, "this sample is no JSON list.", fix="write a list with one element per input."
        )
    return value


def _require_count(file: Path, inputs: list[Any], signature: Signature) -> tuple[Any, ...]:
    count = len(signature.inputs)
    if len(inputs) != count:
        names = ", ".join(spec.data_name for spec in signature.inputs)
        raise ArchiveError(
            file,
            f"this sample has {len(inputs)} inputs; the signature has {count}: {names}.",
            fix="write a JSON list with one element per input.",
        )
    return tuple(inputs)


def _decode_input(file: Path, value: Any, *, image: bool) -> bytes | list[Any]:
    if not image and isinstance(value, list):
        return value
    try:
        if image and isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except binascii.Error:
        pass
    expected = "a picture in base64" if image else "a list"
    raise ArchiveError(file, f"an input of this sample is not {expected}.", fix="correct it.")
