"""Sentence functions of ``mms.utils.mxnet.nlp``, with the names and signatures of 0.4."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

import mxnet as mx
import numpy as np


def encode_sentences(
    sentences: Sequence[Sequence[str]],
    vocab: dict[str, int] | None = None,
    invalid_label: int = -1,
    invalid_key: str = "\n",
    start_label: int = 0,
) -> tuple[list[list[int]], dict[str, int]]:
    """Return each sentence as a list of numbers, and the vocabulary.

    Without ``vocab`` a vocabulary is built: words get numbers from ``start_label`` up, in the order
    of their first occurrence.

    Raises:
        AssertionError: a word is not in ``vocab``.
    """
    result: tuple[list[list[int]], dict[str, int]] = mx.rnn.encode_sentences(
        sentences, vocab, invalid_label, invalid_key, start_label
    )
    return result


def pad_sentence(
    sentence: Sequence[int],
    buckets: Sequence[int],
    invalid_label: int = -1,
    data_name: str = "data",
    layout: str = "NT",
) -> Any:
    """Return a DataBatch of one encoded sentence, padded to the smallest bucket that it fits into.

    ``buckets`` are lengths in ascending order; the selected one is the ``bucket_key`` of the batch.
    The array is float32, [1, length] in layout NT and [length, 1] in TN.

    Raises:
        ValueError: the sentence is longer than the last bucket.
    """
    index = bisect.bisect_left(buckets, len(sentence))
    if index == len(buckets):
        longest = buckets[-1] if buckets else 0
        raise ValueError(f"The sentence has {len(sentence)} words; the most is {longest}.")
    length = buckets[index]
    padded = np.full((1, length), invalid_label, dtype=np.float32)
    padded[0, : len(sentence)] = sentence
    rows = padded if layout.startswith("N") else padded.T
    desc = mx.io.DataDesc(name=data_name, shape=rows.shape, layout=layout)
    return mx.io.DataBatch([mx.nd.array(rows)], pad=0, bucket_key=length, provide_data=[desc])
