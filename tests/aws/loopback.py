"""Addresses and access keys of an emulator."""


def balancer_address(port: int) -> str:
    """Return the address on loopback of the load balancer of the emulator at ``port``."""
    return f"127.100.{port >> 8}.{port & 255}"


CENSUS = "census"
"""The access key of the tests' own calls, which are not recorded as an operator's."""

HOSTS = "hosts"
"""The access key that instances get for their role."""
