"""Import names of MXNet Model Server 0.4, for users' service files (contract, section 10)."""
