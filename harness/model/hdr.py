"""Histograms in HdrHistogram's encoding, version 2, which its libraries in all languages read.

A value v >= 2048 is counted at b * 1024 + (v >> b) with b = floor(log2 v) - 10, a smaller one at v: three significant
digits, and buckets half as wide as ours. The middle of ours decides in which of theirs a count goes, which moves no
value by more than 0.1 %.
"""

from __future__ import annotations

import base64
import struct
import zlib

from harness.model.histogram import Histogram, bucket_edges

_COOKIE, _COMPRESSED = 0x1C849303 | 0x10, 0x1C849304 | 0x10  # version 2, counts as variable-length integers
_HEADER = struct.Struct(">iiiiqqd")  # cookie, payload, normalizing offset, digits, lowest, highest, ratio
DIGITS = 3
_HALF_BITS = 10  # 1,024 buckets an order of magnitude
HOUR_NS = 3_600_000_000_000


def hdr_index(value: int) -> int:
    """Where HdrHistogram counts `value` (>= 0) at three digits from 1 on."""
    shift = max(0, value.bit_length() - 1 - _HALF_BITS)
    return (shift << _HALF_BITS) + (value >> shift)


def hdr_encoded(histogram: Histogram) -> str:
    """The histogram as base64 text, compressed."""
    counts: dict[int, int] = {}
    for bucket, count in histogram.buckets.items():
        low, above = bucket_edges(bucket)
        middle = min(max((low + above - 1) // 2, histogram.min), histogram.max)
        index = hdr_index(middle)
        counts[index] = counts.get(index, 0) + count
    payload = _payload(counts)
    highest = max(HOUR_NS, histogram.max)
    header = _HEADER.pack(_COOKIE, len(payload), 0, DIGITS, 1, highest, 1.0)
    packed = zlib.compress(header + payload)
    return base64.b64encode(struct.pack(">ii", _COMPRESSED, len(packed)) + packed).decode()


def _payload(counts: dict[int, int]) -> bytes:
    """Counts in order; a run of n empty ones is the number -n."""
    made, reached = bytearray(), 0
    for index in sorted(counts):
        if index > reached:
            _number(made, reached - index)
        _number(made, counts[index])
        reached = index + 1
    return bytes(made)


def _number(made: bytearray, number: int) -> None:
    """ZigZag, then seven bits a byte from the low end; the last of nine bytes holds eight."""
    left = (number << 1) ^ (number >> 63)
    for _ in range(8):
        if left < 0x80:
            break
        made.append(left & 0x7F | 0x80)
        left >>= 7
    made.append(left)
