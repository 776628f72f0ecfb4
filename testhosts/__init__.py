"""Local test hosts: User-Mode Linux machines with their own kernel, systemd, network and NFS.

Run as ``python -m testhosts``; tests use :class:`testhosts.lab.Lab`. See ``docs/test_hosts.md``.
"""
