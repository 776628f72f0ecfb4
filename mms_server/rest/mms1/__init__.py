"""The routes of MXNet Model Server 1.x."""
