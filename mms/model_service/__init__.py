"""Service classes under their names of 0.4."""
