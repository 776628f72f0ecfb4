"""Import names of MXNet Model Server 0.4 and 1.x, for users' service files and handlers.

The modules re-export the implementation in ``mms_server`` (docs/service_classes.md).
"""
