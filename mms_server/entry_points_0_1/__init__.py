"""Module names that units of version 0.1 run with ``python -m mms_server.<name>``.

A host has such units until the roles have written new ones, while the new runtime may be the
current one already. Remove in 0.3.
"""
