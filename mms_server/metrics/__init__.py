"""Metrics: counters and histograms in shared files, statistics per minute, and their sinks."""
