"""Sequences of different lengths as arrays: padding, packing, buckets."""

from jrnn.sequences.buckets import (
    Batch as Batch,
    batches as batches,
    bucket_lengths as bucket_lengths,
)
from jrnn.sequences.packing import Packed as Packed, pack as pack, unpack as unpack
from jrnn.sequences.padding import pad as pad
