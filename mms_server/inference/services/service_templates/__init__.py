"""Default service files, which the exporter packs into archives that have no service file.

They import a class and contain no code of their own, so an archive is always served by the code of
the installed server. 0.4 serves these files too. The default file that 0.4 itself packed for
``application/json`` could not be served (docs/compatibility.md, 9).
"""
