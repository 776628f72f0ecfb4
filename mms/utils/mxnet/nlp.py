"""Sentence functions under their names of 0.4."""

from mms_server.inference.services.nlp import encode_sentences, pad_sentence

__all__ = ["encode_sentences", "pad_sentence"]
