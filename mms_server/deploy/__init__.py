"""Plan and apply: what a host should serve, what it serves, and the change between the two."""
