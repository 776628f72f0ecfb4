"""Become a command with a socket as descriptor 3, as systemd passes one: FD COMMAND ARGUMENT..."""

import os
import sys

os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ["LISTEN_FDS"] = "1"
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - that is its purpose
