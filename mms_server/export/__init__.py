"""The exporter: packs a model directory into a model archive.

Behaviour and archive format are those of 0.4 (docs/exporting.md; docs/compatibility.md, sections
8.1, 8.2 and 9). The service class of a model is foreign code: :mod:`.child_process` runs it.
"""

from mms_server.export.exporter import export_model
from mms_server.export.model_files import SUFFIX

__all__ = ["SUFFIX", "export_model"]
