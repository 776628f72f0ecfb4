"""Sentences as numbers: the functions that service files import (contract, section 10)."""

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

    Without ``vocab`` one is made: words get numbers from ``start_label`` in the order they come.

    Raises:
        AssertionError: a word is not in the given ``vocab``.
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
    """Return a DataBatch of one encoded sentence, filled up to the smallest bucket it fits in.

    ``buckets`` are lengths in rising order; the chosen one is the batch's ``bucket_key``. The array
    is float32, [1, length] in layout NT and [length, 1] in TN.

    Raises:
        ValueError: the sentence is longer than the last bucket.
    """
    place = bisect.bisect_left(buckets, len(sentence))
    if place == len(buckets):
        longest = buckets[-1] if buckets else 0
        raise ValueError(f"The sentence has {len(sentence)} words; the most is {longest}.")
    length = buckets[place]
    padded = np.full((1, length), invalid_label, dtype=np.float32)
    padded[0, : len(sentence)] = sentence
    rows = padded if layout.startswith("N") else padded.T
    described = mx.io.DataDesc(name=data_name, shape=rows.shape, layout=layout)
    return mx.io.DataBatch([mx.nd.array(rows)], pad=0, bucket_key=length, provide_data=[described])
