"""Errors, paths on a host, and small tools that every other package uses."""
