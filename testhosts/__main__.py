"""``python -m testhosts``."""

from __future__ import annotations

import sys

from testhosts.cli import main

if __name__ == "__main__":
    sys.exit(main())
