"""The files given by ``--sample``: the inputs of a request each."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from mms_server.archives import golden_samples
from mms_server.archives.signature import IMAGE, Signature
from mms_server.core.errors import ArchiveError
from mms_server.export import child_process
from mms_server.export.packer import Members

_TIMEOUT_S = 600.0
_JSON_SIGN = b"["


def read(file: Path, signature: Signature) -> golden_samples.Sample:
    """Return the inputs in ``file``: a picture, or a JSON list with one element per input.

    In the list a picture is base64 text, and any other input a list of its own.

    Raises:
        ArchiveError: the file does not hold what the signature asks for.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(golden_samples.MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise ArchiveError(
            file, f"this sample cannot be read: {error.strerror}.", fix="check the path."
        ) from error
    if len(data) > golden_samples.MAX_INPUT_BYTES:
        raise ArchiveError(
            file,
            f"it has more than {golden_samples.MAX_INPUT_BYTES} bytes.",
            fix="take a smaller sample.",
        )
    image = signature.input_type == IMAGE
    if image and not data.lstrip().startswith(_JSON_SIGN):
        return golden_samples.Sample(_counted(file, [data], signature))
    rows = _counted(file, _list(file, data), signature)
    return golden_samples.Sample(tuple(_input(file, row, image=image) for row in rows))


def record(
    files: list[Path], signature: Signature, members: Members, scratch: Path
) -> dict[str, bytes]:
    """Return the archive's files for these samples, with what the model answers to each.

    The model is run as a server runs it, from an archive unpacked into ``scratch``.

    Raises:
        MMSError: a sample does not fit the signature, or the model does not answer it twice alike.
    """
    samples = [read(file, signature) for file in files]
    scratch.mkdir()
    readable = {scratch}
    for name, content in {**members, **golden_samples.encode(samples)}.items():
        place = scratch / name.rpartition("/")[2]
        if isinstance(content, bytes):
            place.write_bytes(content)
        else:
            place.symlink_to(content.absolute())
            readable.add(content.absolute())
    expected = child_process.run(
        child_process.SAMPLES,
        str(scratch),
        where=files[0],
        timeout_s=_TIMEOUT_S,
        readable=sorted(readable),
    )
    return golden_samples.encode(
        [
            golden_samples.Sample(sample.inputs, answer, sample.tolerance)
            for sample, answer in zip(samples, expected, strict=True)
        ]
    )


def _list(file: Path, data: bytes) -> list[Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(file, f"this sample is not JSON: {error}.", fix="correct it.") from error
    if not isinstance(value, list):
        raise ArchiveError(
            file, "this sample is no JSON list.", fix="write a list with one element per input."
        )
    return value


def _counted(file: Path, rows: list[Any], signature: Signature) -> tuple[Any, ...]:
    wanted = len(signature.inputs)
    if len(rows) != wanted:
        names = ", ".join(row.data_name for row in signature.inputs)
        raise ArchiveError(
            file,
            f"this sample has {len(rows)} inputs; the signature has {wanted}: {names}.",
            fix="write a JSON list with one element per input.",
        )
    return tuple(rows)


def _input(file: Path, row: Any, *, image: bool) -> bytes | list[Any]:
    if not image and isinstance(row, list):
        return row
    try:
        if image and isinstance(row, str):
            return base64.b64decode(row, validate=True)
    except binascii.Error:
        pass
    wanted = "a picture in base64" if image else "a list"
    raise ArchiveError(file, f"an input of this sample is not {wanted}.", fix="correct it.")
