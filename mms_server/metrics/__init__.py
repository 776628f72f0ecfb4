"""Counters and histograms in shared files, statistics by the minute, and where they go."""
