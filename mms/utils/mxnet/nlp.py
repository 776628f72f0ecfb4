"""Functions for sentences under their 0.4 names."""

from mms_server.inference.services.nlp import encode_sentences, pad_sentence

__all__ = ["encode_sentences", "pad_sentence"]
