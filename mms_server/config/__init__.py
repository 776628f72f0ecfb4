"""``mms.conf`` and the settings of a host and of a model: parsing and checking."""
