"""The command lines: a module per program, and a module per command of mms and mms-fleet."""
