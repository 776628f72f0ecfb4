"""``mms tune``: find a model's settings for this host by measuring it, and write them down."""
