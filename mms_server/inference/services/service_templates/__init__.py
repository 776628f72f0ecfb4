"""The service files that the exporter puts into archives without one of their own.

They name a class and hold no code, so that an archive is served by the code of the server it is on.
0.4 serves them too; its own file for ``application/json`` it could not serve (contract, section 9).
"""
