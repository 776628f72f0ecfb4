"""The serving processes: a release's master and workers, the control application, mms-metrics."""
