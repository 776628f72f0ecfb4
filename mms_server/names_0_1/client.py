"""``mms_server.client`` of version 0.1: see ``cli.client``."""

import warnings

from mms_server.cli.client import *  # noqa: F403 - whatever users import

warnings.warn(
    "mms_server.client is now mms_server.cli.client; the old name goes in 0.3.",
    DeprecationWarning,
    stacklevel=2,
)
