"""``python -m mms_server.worker`` of version 0.1: see ``server.release_launcher``."""

import sys

from mms_server.server.release_launcher import main

sys.exit(main())
