"""The service classes that users' service files subclass (contract, section 10)."""
