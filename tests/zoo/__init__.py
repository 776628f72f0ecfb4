"""Tiny archives that each misbehave in one way: ``build(name, directory)`` writes the archive.

All have one input ``order`` of shape (0, 1), as JSON, and answer the number that they are sent.
Those that fail in a prediction do so for the number 1; to every other they answer well. What has to
become of each is in the table :data:`ANIMALS`.
"""

from __future__ import annotations

import functools
import json
import tempfile
import zipfile
from pathlib import Path

import mxnet as mx
import numpy as np

from mms_server.export import export_model
from tests.zoo.table import ANIMALS, BAD, GOOD, SERVICE, Animal, Outcome, Where

__all__ = ["ANIMALS", "BAD", "GOOD", "Animal", "Outcome", "Where", "build", "names"]


def names(where: Where) -> list[str]:
    """Return the animals that fail in one place."""
    return [name for name, animal in ANIMALS.items() if animal.where is where]


def build(name: str, directory: Path) -> Path:
    """Write the archive of an animal; the table says what it does."""
    animal = ANIMALS[name]
    members = {**_sound(), "zoo_service.py": _service(animal).encode()}
    if animal.nan_weight:
        members["zoo-0000.params"] = _parameters(float("nan"))
    if animal.golden:
        members["mms-golden.json"] = json.dumps(animal.golden).encode()
    target = directory / f"{name}.model"
    with zipfile.ZipFile(target, "w") as archive:
        for file, data in members.items():
            # Without a time of its own: the same archive, and release, whenever it is made.
            archive.writestr(zipfile.ZipInfo(file), data)
    return target


@functools.cache
def _sound() -> dict[str, bytes]:
    """Return the files of a model that is well: the exporter would not take the others."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        source = Path(scratch) / "source"
        source.mkdir()
        order, one = mx.sym.Variable("order"), mx.sym.Variable("one", shape=(1, 1))
        mx.sym.broadcast_mul(order, one).save(str(source / "zoo-symbol.json"))
        (source / "zoo-0000.params").write_bytes(_parameters(1.0))
        signature = {
            "inputs": [{"data_name": "order", "data_shape": [0, 1]}],
            "input_type": "application/json",
            "outputs": [{"data_name": "out", "data_shape": [0, 1]}],
            "output_type": "application/json",
        }
        (source / "signature.json").write_text(json.dumps(signature))
        (source / "zoo_service.py").write_text(_service(Animal(Where.PREDICT, Outcome.ANSWERS)))
        whole = str(Path(scratch) / "zoo.model")
        with zipfile.ZipFile(export_model("zoo", str(source), "zoo_service.py", whole)) as made:
            return {entry: made.read(entry) for entry in made.namelist()}


def _parameters(weight: float) -> bytes:
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        file = Path(scratch) / "zoo.params"
        mx.nd.save(str(file), {"arg:one": mx.nd.array(np.array([[weight]]))})
        return file.read_bytes()


def _service(animal: Animal) -> str:
    if animal.whole is not None:
        return animal.whole
    parts = {"load": animal.load or "pass", "predict": animal.predict or "pass"}
    lines = {key: text.strip().replace("\n", "\n" + " " * 12) for key, text in parts.items()}
    return SERVICE.format(top=animal.top, **lines)
