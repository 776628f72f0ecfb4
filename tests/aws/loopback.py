"""Where the load balancer of an emulator answers clients."""


def balancer_address(port: int) -> str:
    """Return the address on loopback of the load balancer of the emulator at the port."""
    return f"127.100.{port >> 8}.{port & 255}"


CENSUS = "census"
"""The key of the tests' own calls, which are none of an operator's."""

HOSTS = "hosts"
"""The key that instances get for their role."""
