"""Module names of version 0.1 that units run and users import. Remove in 0.3.

``__path__`` of ``mms_server`` includes this directory, so that ``mms_server.worker`` is found here.
Units of version 0.1 run ``python -m mms_server.<name>``. A host has such units until the roles have
written new ones, while the new runtime may be the current one already.
"""
