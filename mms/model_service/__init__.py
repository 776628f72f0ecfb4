"""Service classes under their 0.4 names."""
