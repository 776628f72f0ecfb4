"""Helpers of service files under their names of 0.4."""
