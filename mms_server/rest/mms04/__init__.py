"""The routes of MXNet Model Server 0.4."""
