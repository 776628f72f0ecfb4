"""An imperative Gluon network with parameters in the archive."""

import mxnet as mx

from mms.model_service.mxnet_model_service import GluonImperativeBaseService


class Net(mx.gluon.Block):
    """Two layers, written out."""

    def __init__(self, **kwargs):
        super(Net, self).__init__(**kwargs)
        with self.name_scope():
            self.hidden = mx.gluon.nn.Dense(4, in_units=3)
            self.out = mx.gluon.nn.Dense(2, in_units=4)

    def forward(self, x):
        """Return the outputs for a batch."""
        return self.out(mx.nd.tanh(self.hidden(x)))


class GluonService(GluonImperativeBaseService):
    """Lists in, lists out."""

    def __init__(self, model_name, model_dir, manifest, gpu=None):
        super(GluonService, self).__init__(model_name, model_dir, manifest, Net(), gpu)

    def _preprocess(self, data):
        return [mx.nd.array(data[0], ctx=self.ctx)]

    def _inference(self, data):
        super(GluonService, self)._inference(data)
        return [self.net(data[0])]

    def _postprocess(self, data):
        return data[0].asnumpy().tolist()
