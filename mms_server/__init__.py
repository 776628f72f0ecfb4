"""Serve Apache MXNet models over HTTP on plain hosts.

The subpackages are layers: each imports only from those before it in this list.

``core``, ``config``, ``metrics``, ``host``, ``archives``, ``crashes``, ``fleet``, ``overload``,
``inference``, ``rest``, ``server``, ``deploy``, ``export`` and ``tuning``, ``cli``.
"""

from pathlib import Path

__version__ = "0.1.0"

# Units of version 0.1 run `python -m mms_server.worker` and the like. Remove in 0.3.
__path__.append(str(Path(__file__).with_name("entry_points_0_1")))
