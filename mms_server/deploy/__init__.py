"""Plan and apply: the desired state of a host, its observed state, and the change between them."""
