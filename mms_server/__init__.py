"""Serve Apache MXNet models over HTTP on plain hosts.

The subpackages are layers: each imports only from those before it in this list.

``core``, ``config``, ``metrics``, ``host``, ``archives``, ``crashes``, ``fleet``, ``overload``,
``inference``, ``rest``, ``server``, ``deploy``, ``export`` and ``tuning``, ``cli``.
"""

from pathlib import Path

__version__ = "0.2.0"

# Names of version 0.1 that units run and users import. Remove in 0.3.
__path__.append(str(Path(__file__).with_name("names_0_1")))
