"""Peers: other model servers, in environments of their own, under the same load."""
