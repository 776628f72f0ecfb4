"""``python -m mms_server.control`` of version 0.1: see ``server.control_app``."""

import sys

from mms_server.server.control_app import main

sys.exit(main())
