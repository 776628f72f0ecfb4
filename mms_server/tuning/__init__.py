"""``mms tune``: measure a model with several settings on this host, and write the best ones."""
