"""``.model`` and ``.mar`` archives: found, downloaded, checked, unpacked into the store."""
