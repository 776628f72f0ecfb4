"""``python -m mms_server.deaths`` of version 0.1: see ``cli.collect_crashes``."""

import sys

from mms_server.cli.collect_crashes import main

sys.exit(main())
