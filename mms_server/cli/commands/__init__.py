"""The commands of ``mms``: one module each, with a ``COMMAND``."""
