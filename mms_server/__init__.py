"""Serve Apache MXNet models over HTTP on plain hosts.

The package holds what runs on a host: the model worker (:mod:`mms_server.worker`), the host's
control application (:mod:`mms_server.control`) and the engine that decides what a host serves
(:mod:`mms_server.apply`).
"""

__version__ = "0.1.0"
