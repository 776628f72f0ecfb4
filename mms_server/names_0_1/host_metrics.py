"""``python -m mms_server.host_metrics`` of version 0.1: see ``server.metrics_daemon``."""

import sys

from mms_server.server.metrics_daemon import main

sys.exit(main())
