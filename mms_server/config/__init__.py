"""``mms.conf`` and the settings of a host: parsed, checked, with one table each."""
