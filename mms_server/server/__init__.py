"""The processes that serve: the release server, its workers, the control application."""
