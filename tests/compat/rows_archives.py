"""Rows about archives (compatibility.md, 8): accepted, refused and written ones."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mms_server.archives.extract import check, unpack
from mms_server.core.errors import ArchiveError, MMSError
from mms_server.export import export_model
from mms_server.inference.model_loader import LoadedModel, load_model
from tests.compat.replay import assert_close
from tests.compat.rows import Ground, fixed, kept
from tests.fixtures import servers

_ANSWER = ["[[2.0600686073303223, -2.510288953781128]]"]


def _unpacked(ground: Ground, model: str = "single") -> Path:
    directory = ground.directory / model
    unpack(ground.archives[model], directory)
    return directory


def _manifest(directory: Path, changes: Callable[[dict[str, object]], object]) -> None:
    file = directory / "MANIFEST.json"
    about = json.loads(file.read_text())
    changes(about)
    file.write_text(json.dumps(about))


def _predicts(loaded: LoadedModel) -> None:
    assert_close(loaded.service.inference([[[1, 2, 3]]]), _ANSWER, 1e-5)


def _loads_with(changes: Callable[[dict[str, object]], object]) -> Callable[[Ground], None]:
    def checked(ground: Ground) -> None:
        directory = _unpacked(ground)
        _manifest(directory, changes)
        _predicts(load_model("m", directory))

    return checked


def _refused_with(
    changes: Callable[[dict[str, object]], object], cause: str
) -> Callable[[Ground], None]:
    def checked(ground: Ground) -> None:
        directory = _unpacked(ground)
        _manifest(directory, changes)
        with pytest.raises(ArchiveError, match=cause):
            check(directory)

    return checked


def _model(**changes: object) -> Callable[[dict[str, object]], object]:
    """Return a change of fields of ``Model``; underscores in names become dashes."""
    renamed = {name.replace("_", "-"): value for name, value in changes.items()}

    def change(about: dict[str, object]) -> None:
        model = about["Model"]
        assert isinstance(model, dict)
        model.update(renamed)

    return change


def _same_manifest(ground: Ground) -> None:
    directory = _unpacked(ground)
    theirs = json.loads((directory / "MANIFEST.json").read_text())
    target = ground.directory / "ours.model"
    export_model("single", str(directory), "numbers_service.py", str(target))
    with zipfile.ZipFile(target) as archive:
        infos = archive.infolist()
        ours = json.loads(archive.read("MANIFEST.json"))
    assert (ours.pop("Engine"), theirs.pop("Engine")) == (
        {"MXNet": ["int", 10201]},
        {"MXNet": "1.2.1"},
    )
    assert ours == theirs
    assert infos[-1].filename == "MANIFEST.json"
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert all("/" not in info.filename for info in infos)
    with zipfile.ZipFile(ground.archives["single"]) as archive:
        assert sorted(archive.namelist()) == sorted(info.filename for info in infos)


def _packed(ground: Ground, rename: Callable[[str], str], kind: int = zipfile.ZIP_STORED) -> Path:
    target = ground.directory / "packed.model"
    with (
        zipfile.ZipFile(ground.archives["single"]) as source,
        zipfile.ZipFile(target, "w", kind) as archive,
    ):
        archive.writestr("folder/", b"")
        for info in source.infolist():
            archive.writestr(rename(info.filename), source.read(info))
    return target


def _nested(ground: Ground) -> None:
    packed = _packed(ground, lambda name: f"folder/{name}", zipfile.ZIP_DEFLATED)
    unpack(packed, ground.directory / "flat")
    assert (ground.directory / "flat" / "MANIFEST.json").is_file()
    _predicts(load_model("m", ground.directory / "flat"))


def _refused_names(names: Mapping[str, bytes], cause: str) -> Callable[[Ground], None]:
    def checked(ground: Ground) -> None:
        archive = ground.directory / "bad.model"
        with zipfile.ZipFile(archive, "w") as stream:
            for name, data in names.items():
                stream.writestr(name, data)
        with pytest.raises(ArchiveError, match=cause):
            unpack(archive, ground.directory / "bad")
        assert sorted(path.name for path in ground.directory.iterdir()) == ["bad.model"]

    return checked


def _epoch(ground: Ground) -> None:
    directory = _unpacked(ground)
    (directory / "single-0000.params").rename(directory / "single-0003.params")
    _manifest(directory, _model(Parameters="single-0003.params"))
    _predicts(load_model("m", directory))
    _manifest(directory, _model(Model_Name="other"))
    with pytest.raises(MMSError, match=r"single-0000\.params"):
        load_model("m", directory)


def _no_labels(ground: Ground) -> None:
    directory = _unpacked(ground, "photo")
    (directory / "synset.txt").unlink()
    loaded = load_model("m", directory)
    with pytest.raises(Exception, match="Can't find labels attribute"):
        loaded.service.inference([(Path(__file__).parent / "pictures/exact.png").read_bytes()])


def _input_type(ground: Ground) -> None:
    directory = _unpacked(ground)
    file = directory / "signature.json"
    file.write_text(file.read_text().replace("application/json", "text/plain"))
    with pytest.raises(ArchiveError, match="must be image/jpeg or application/json"):
        load_model("m", directory)


def _places(ground: Ground) -> None:
    """Serve from a read-only directory with an old directory beside the archive, and by file://."""
    place = ground.directory / "place"
    place.mkdir()
    archive = Path(shutil.copy(ground.archives["single"], place))
    (place / "single").mkdir()
    (place / "single" / "MANIFEST.json").write_text("old")
    before = sorted(place.rglob("*"))
    url: Any = f"file://{archive}"
    models = {"path": archive, "url": url, "directory": _unpacked(ground)}
    with servers.standalone(ground.directory, models) as server:
        for name in models:
            answer = server.predict(name, {"x": b"[[1, 2, 3]]"})
            assert answer.status == 200, name
    assert sorted(place.rglob("*")) == before


def _number(key: str) -> Callable[[dict[str, object]], object]:
    return lambda about: about.update({key: "0.2"})


_EXTRA = {"License": "Apache-2.0", "Created-By": {"Author": "A"}, "Mine": [1]}

ROWS = (
    kept(
        "8.1", "An archive is a flat ZIP of stored members with the manifest last.", _same_manifest
    ),
    kept(
        "8.1",
        "Directories and deflated members are read; the paths of members are dropped.",
        _nested,
    ),
    kept("8.2", "The manifest has the fields and values of 0.4.", _same_manifest),
    fixed(
        "8.2",
        "Engine is the symbol's version only if the exporter runs in the model's directory.",
        "Engine is the symbol's version, in whichever directory the exporter runs.",
        _same_manifest,
    ),
    kept(
        "8.2",
        "License, Created-By and unknown fields are accepted.",
        _loads_with(lambda about: about.update(_EXTRA)),
    ),
    kept(
        "8.2",
        "Archives of version 0.1 are read.",
        _loads_with(
            lambda about: about.update({"Model-Archive-Version": 0.1, "Model-Server": 0.1})
        ),
    ),
    kept(
        "8.2",
        "Versions must be JSON numbers.",
        _refused_with(_number("Model-Server"), "Model-Server in MANIFEST.json is not a number"),
    ),
    kept(
        "8.2",
        "Service, Signature and Symbol may be patterns that match one file.",
        _loads_with(_model(Service="*.py", Signature="sig*", Symbol="*-symbol.json")),
    ),
    kept(
        "8.2",
        "A pattern that matches several files, or none, is refused.",
        _refused_with(_model(Signature="*.json"), "names several files"),
    ),
    kept(
        "8.2",
        "A manifest must name an existing service file.",
        _refused_with(_model(Service="none.py"), "Service file none.py"),
    ),
    kept(
        "8.2",
        "A missing Symbol is refused for a symbolic model.",
        _refused_with(_model(Symbol=""), "Symbol file not defined in MANIFEST.json"),
    ),
    fixed(
        "8.3",
        "An input_type other than image/jpeg and application/json is a 500 on every request.",
        "The archive is refused.",
        _input_type,
    ),
    kept(
        "8.4",
        "The epoch follows the Model-Name in the name of the parameters file; otherwise it is 0.",
        _epoch,
    ),
    kept(
        "8.4", "A vision service without synset.txt loads, and fails on every request.", _no_labels
    ),
    fixed(
        "8.5",
        "Members with equal names overwrite each other.",
        "The archive is refused.",
        _refused_names({"a/x": b"1", "b/x": b"2"}, "the same name once unpacked"),
    ),
    fixed(
        "8.5",
        "The path of a member is dropped, also if it leads outside of the directory.",
        "The archive is refused.",
        _refused_names({"../x": b"1"}, "unsafe name"),
    ),
    kept(
        "8.5",
        "A failed unpacking leaves no files.",
        _refused_names({"ok": b"1", "/etc/x": b"2"}, "unsafe name"),
    ),
    fixed(
        "8.5",
        "An old directory beside the archive is served, and unpacked into; file:// fails.",
        "The archive is served, also with file://, and nothing is written beside it.",
        _places,
    ),
)
