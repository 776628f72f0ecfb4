"""What the hosts of a fleet share: publications, the lease of who changes them, the journal."""
