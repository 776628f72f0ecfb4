"""Inference: from the inputs of a request to the answer of a model.

A worker runs one forward at a time, in the one thread of its engine (:mod:`.executor`).
"""
