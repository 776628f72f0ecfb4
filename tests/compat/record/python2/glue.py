"""The WSGI application of MXNet Model Server 0.4 for gunicorn, in our own words.

The glue of the image is not on PyPI. ``COMPAT_MODELS`` holds ``name=path`` pairs.
"""

import os

from mms.arg_parser import ArgParser
from mms.model_loader import ModelLoader
from mms.mxnet_model_server import MMS

_PAIRS = os.environ["COMPAT_MODELS"].split()
_LOADED = ModelLoader.load(dict(pair.split("=", 1) for pair in _PAIRS))
application = MMS(
    args=ArgParser.extract_args(["--models"] + _PAIRS),
    models=_LOADED,
).create_app()
