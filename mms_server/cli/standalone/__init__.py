"""``mxnet-model-server --models``: several models on one port, without systemd or nginx."""
