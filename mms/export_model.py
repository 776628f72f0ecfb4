"""The exporter under its 0.4 name."""

from mms_server.export import export_model

__all__ = ["export_model"]
