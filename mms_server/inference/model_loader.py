"""Find the service class in an archive's service file, and load the model with it.

One leaf class per file (contract, section 10). Archives that the exporter made hold a copy of the
base service's or the vision service's own file; they load as well (contract, section 20).
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
# Both are defined in 0.4's file of the base service; the second cannot serve by itself.
_BASE, _GLUON_BASE = "MXNetBaseService", "GluonImperativeBaseService"


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory: its endpoint name, signature, service object and version.

    Without a signature the service reads whole requests
    (:class:`mms_server.inference.raw_request.WholeRequest`) and answers with a ``HandlerAnswer``.
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
    """Load the unpacked archive in ``directory``; ``service_file`` overrides the archive's.

    Raises:
        ArchiveError: the archive is not complete.
        ServiceError: its service class cannot be found, or does not load the model.
    """
    manifest, signature = check(directory)
    if signature is None:
        if service_file:
            cause = f"model {name} has a handler of 1.x, which a service file cannot replace."
            raise ServiceError(cause, fix="leave --service out.")
        handler = HandlerService(manifest.model_name, str(directory), manifest, gpu)
        return LoadedModel(name, None, handler, version)
    archived = find_one(directory, manifest.service, "Service")
    chosen = Path(service_file) if service_file else archived
    service_class = leaf_class(load_service(str(chosen)))
    try:
        # Networks are named by counters: each model's start anew, whatever was loaded before.
        with mx.name.NameManager():
            service = _made(service_class, manifest, directory, gpu)
    except ServiceError:
        raise
    except (Exception, SystemExit) as error:
        raise ServiceError(
            f"{service_class.__name__} in {chosen.name} does not load model {name}: "
            f"{type(error).__name__}: {error}.",
            fix="correct the service class, or the archive.",
        ) from error
    _check_network(name, service)
    return LoadedModel(name, signature, service, version)


def _made(service_class: Any, manifest: Manifest, directory: Path, gpu: int | None) -> Any:
    arguments = (manifest.model_name, str(directory), _resolved(manifest, directory))
    # Fourth comes ``gpu`` in one base class and ``net`` in the other: the name decides.
    if "gpu" in inspect.signature(service_class).parameters:
        return service_class(*arguments, gpu=gpu)
    return service_class(*arguments, gpu)


def _check_network(name: str, service: Any) -> None:
    """Refuse a network that cannot compute: its service is made even if its parameters are bad."""
    if not isinstance(service, GluonImperativeBaseService):
        return
    unset = unset_parameters(service.net)
    if unset:
        named = service.param_filename or "no file; the archive names none"
        raise ServiceError(
            f"the network of model {name} has no values for {', '.join(unset[:_SHOWN])}"
            f"{', ...' if len(unset) > _SHOWN else ''} (parameters: {named}).",
            fix="export the parameters that the network was saved with, or initialize it in the "
            "service class.",
        )


def leaf_class(module: ModuleType) -> Any:
    """Return the only service class in ``module`` that no other class there is derived from.

    Imported classes count only when the file defines none of its own.

    Raises:
        ServiceError: there is none, or more than one.
    """
    classes = {
        value for _, value in inspect.getmembers(module, inspect.isclass) if _is_service(value)
    }
    leaves = [
        one
        for one in classes
        if not any(one is not two and issubclass(two, one) for two in classes)
    ]
    own = [leaf for leaf in leaves if leaf.__module__ == module.__name__]
    chosen = own or leaves
    if {leaf.__name__ for leaf in chosen} == {_BASE, _GLUON_BASE}:
        chosen = [leaf for leaf in chosen if leaf.__name__ == _BASE]
    if len(chosen) != 1:
        names = ", ".join(sorted(leaf.__name__ for leaf in chosen)) or "none"
        raise ServiceError(
            "There should be one user defined service derived from ModelService. "
            f"{module.__name__} has: {names}.",
            fix="leave one class in the service file that is derived from SingleNodeService.",
        )
    return chosen[0]


def _is_service(value: type) -> bool:
    return issubclass(value, SingleNodeService) and value is not SingleNodeService


def _resolved(manifest: Manifest, directory: Path) -> dict[str, Any]:
    """Return the manifest with file names in place of patterns: services open them by name."""
    model = dict(manifest.raw["Model"])
    for key in ("Service", "Signature", "Symbol", "Parameters"):
        found = find(directory, model.get(key, "") or "")
        if len(found) == 1:
            model[key] = found[0].name
    return {**manifest.raw, "Model": model}
