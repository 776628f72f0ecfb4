"""The commands of ``mms-fleet``: one module each, with a ``COMMAND``."""
