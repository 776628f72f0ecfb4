"""One host: its releases, generations, systemd units, live links, locks and control groups."""
