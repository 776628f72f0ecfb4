"""Pack a model directory into an archive (contract, sections 8.1, 8.2 and 9)."""

from mms_server.export.exporter import export_model
from mms_server.export.model_files import SUFFIX

__all__ = ["SUFFIX", "export_model"]
