"""``mms_server.golden`` of version 0.1: see ``archives.golden_samples``."""

import warnings

from mms_server.archives.golden_samples import *  # noqa: F403 - whatever users import

warnings.warn(
    "mms_server.golden is now mms_server.archives.golden_samples; the old name goes in 0.3.",
    DeprecationWarning,
    stacklevel=2,
)
