"""Service classes of 0.4, which users' service files subclass, and the adapter for 1.x handlers.

Names and signatures are those of MXNet Model Server 0.4 (docs/service_classes.md).
"""
