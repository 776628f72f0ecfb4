"""The exporter under its name of 0.4."""

from mms_server.export import export_model

__all__ = ["export_model"]
