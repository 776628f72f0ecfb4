"""Load the model in an unpacked archive: find its service class and create the service object.

A service file has one leaf class, as in 0.4 (docs/service_classes.md). Archives of 0.4's exporter
may contain a copy of 0.4's own file of the base service or vision service; they load as well.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import mxnet as mx

from mms_server.archives.extract import check
from mms_server.archives.manifest import Manifest, find, find_one
from mms_server.archives.signature import Signature
from mms_server.core.errors import ServiceError
from mms_server.inference.services.gluon_service import GluonImperativeBaseService, unset_parameters
from mms_server.inference.services.handler import HandlerService
from mms_server.inference.services.model_service import SingleNodeService, load_service

_SHOWN = 5
# 0.4's own file of the base service defines both; the second is abstract.
_BASE, _GLUON_BASE = "MXNetBaseService", "GluonImperativeBaseService"


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory: its endpoint name, signature, service object and version.

    A 1.x handler has no signature: it takes a
    :class:`~mms_server.inference.raw_request.RawRequest` and returns a ``HandlerAnswer``.
    """

    name: str
    signature: Signature | None
    service: Any
    version: str = "1"


def load_model(
    name: str,
    directory: Path,
    *,
    service_file: Path | str | None = None,
    gpu: int | None = None,
    version: str = "1",
) -> LoadedModel:
    """Load the unpacked archive in ``directory``; ``service_file`` replaces that of the archive.

    ``gpu`` is the number of the GPU, None for the CPU.

    Raises:
        ArchiveError: the archive is not complete.
        ServiceError: there is not exactly one service class, or it does not load the model.
    """
    manifest, signature = check(directory)
    if signature is None:
        if service_file:
            cause = f"model {name} has a handler of 1.x, which a service file cannot replace."
            raise ServiceError(cause, fix="leave --service out.")
        handler = HandlerService(manifest.model_name, str(directory), manifest, gpu)
        return LoadedModel(name, None, handler, version)
    archived = find_one(directory, manifest.service, "Service")
    file = Path(service_file) if service_file else archived
    service_class = leaf_class(load_service(str(file)))
    try:
        # MXNet numbers unnamed layers with counters. They start at 0 for each model, so that its
        # parameters have the same names whatever was loaded before.
        with mx.name.NameManager():
            service = _create_service(service_class, manifest, directory, gpu)
    except ServiceError:
        raise
    except (Exception, SystemExit) as error:
        raise ServiceError(
            f"{service_class.__name__} in {file.name} does not load model {name}: "
            f"{type(error).__name__}: {error}.",
            fix="correct the service class, or the archive.",
        ) from error
    _check_network(name, service)
    return LoadedModel(name, signature, service, version)


def _create_service(
    service_class: Any, manifest: Manifest, directory: Path, gpu: int | None
) -> Any:
    arguments = (manifest.model_name, str(directory), _resolve_patterns(manifest, directory))
    # The fourth parameter of the one base class is ``gpu``, of the other ``net``: pass it by name.
    if "gpu" in inspect.signature(service_class).parameters:
        return service_class(*arguments, gpu=gpu)
    return service_class(*arguments, gpu)


def _check_network(name: str, service: Any) -> None:
    """Refuse a Gluon network with unset parameters, with which it could not compute.

    The constructor of the service only logs parameters that it cannot load.
    """
    if not isinstance(service, GluonImperativeBaseService):
        return
    unset = unset_parameters(service.net)
    if unset:
        file = service.param_filename or "no file; the archive names none"
        raise ServiceError(
            f"the network of model {name} has no values for {', '.join(unset[:_SHOWN])}"
            f"{', ...' if len(unset) > _SHOWN else ''} (parameters: {file}).",
            fix="export the parameters that the network was saved with, or initialize it in the "
            "service class.",
        )


def leaf_class(module: ModuleType) -> Any:
    """Return the only service class in ``module`` from which no other class there is derived.

    Imported classes count only if the module defines no service class.

    Raises:
        ServiceError: there is no such class, or more than one.
    """
    classes = {
        value for _, value in inspect.getmembers(module, inspect.isclass) if _is_service(value)
    }
    leaves = [
        cls
        for cls in classes
        if not any(cls is not other and issubclass(other, cls) for other in classes)
    ]
    defined = [leaf for leaf in leaves if leaf.__module__ == module.__name__]
    candidates = defined or leaves
    if {leaf.__name__ for leaf in candidates} == {_BASE, _GLUON_BASE}:
        candidates = [leaf for leaf in candidates if leaf.__name__ == _BASE]
    if len(candidates) != 1:
        names = ", ".join(sorted(leaf.__name__ for leaf in candidates)) or "none"
        raise ServiceError(
            "There should be one user defined service derived from ModelService. "
            f"{module.__name__} has: {names}.",
            fix="leave one class in the service file that is derived from SingleNodeService.",
        )
    return candidates[0]


def _is_service(value: type) -> bool:
    return issubclass(value, SingleNodeService) and value is not SingleNodeService


def _resolve_patterns(manifest: Manifest, directory: Path) -> dict[str, Any]:
    """Return the manifest with file names in place of patterns, because services open the files."""
    model = dict(manifest.raw["Model"])
    for key in ("Service", "Signature", "Symbol", "Parameters"):
        found = find(directory, model.get(key, "") or "")
        if len(found) == 1:
            model[key] = found[0].name
    return {**manifest.raw, "Model": model}
