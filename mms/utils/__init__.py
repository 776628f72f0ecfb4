"""Helpers of service files under their 0.4 names."""
