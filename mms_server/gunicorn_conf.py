"""Gunicorn's configuration for a release: what its command line cannot say."""

# ruff: noqa: E402 - gevent must replace the standard library before anything imports it
from gevent import monkey

monkey.patch_all()

import logging
import os
from typing import Any

from mms_server import liveness
from mms_server.devices import SLOT_VARIABLE
from mms_server.slots import Slots
from mms_server.worker import RELEASE_VARIABLE, layout_of

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

proc_name = os.environ[RELEASE_VARIABLE]
_slots = Slots()
_alive_file = layout_of(os.environ).alive_file(os.environ[RELEASE_VARIABLE])


def when_ready(_server: Any) -> None:
    """Tell, by a lock that dies with the process, that the master is up."""
    liveness.hold(_alive_file, liveness.MASTER_SLOT)


def pre_fork(_server: Any, worker: Any) -> None:
    """Give the worker a slot: the fork takes it along as ``worker.slot``."""
    worker.slot = _slots.take(worker.age)


def post_fork(_server: Any, worker: Any) -> None:
    """Tell the worker its slot: one that loads the model itself takes its GPU by it."""
    os.environ[SLOT_VARIABLE] = str(worker.slot)


def child_exit(_server: Any, worker: Any) -> None:
    """Free the slot of a worker that has ended, for its successor."""
    _slots.free(worker.age)


def post_worker_init(worker: Any) -> None:
    """Tell, by a lock that dies with the process, that this worker is up."""
    liveness.hold(_alive_file, worker.age)
