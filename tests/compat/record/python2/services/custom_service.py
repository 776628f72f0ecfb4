"""A service with an answer of its own: an object with text, numbers, nothing and truth."""

from __future__ import unicode_literals

from mms.model_service.mxnet_model_service import MXNetBaseService


class CustomService(MXNetBaseService):
    """Answers the kind of thing that JSON has and a tensor has not."""

    def _postprocess(self, data):
        values = data[0].asnumpy().ravel()
        return {
            "zebra": [float(value) for value in values],
            "ant": 'caf\u00e9 <b>&"',
            "none": None,
            "truth": bool(values[0] > 0),
        }
