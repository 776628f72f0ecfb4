"""What is known of processes that ended unexpectedly: certificates, quarantine, back-off."""
