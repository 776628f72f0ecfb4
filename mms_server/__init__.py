"""Serve Apache MXNet models over HTTP on plain hosts.

The subpackages are layers: each imports only from those before it in this list.

``core``, ``config``, ``metrics``, ``host``, ``archives``, ``crashes``, ``fleet``, ``overload``,
``inference``, ``rest``, ``server``, ``deploy``, ``export`` and ``tuning``, ``cli``.
"""

__version__ = "0.1.0"
