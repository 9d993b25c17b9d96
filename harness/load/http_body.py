"""Compressed bodies, gzip and deflate, with a limit to what they may come to."""

from __future__ import annotations

import zlib

ACCEPTED = "gzip, deflate"
_AUTOMATIC = 32 + zlib.MAX_WBITS  # gzip or zlib, by its first bytes
_PLAIN = ("", "identity")


class Undecodable(Exception):
    """outcome: bad_encoding | too_large."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Decoder:
    """Takes a body apart as it comes. encoding: the reply's content-encoding; most: bytes that may come out.

    Every method raises Undecodable.
    """

    def __init__(self, encoding: str, most: int) -> None:
        names = [name.strip().lower() for name in encoding.split(",")]
        if any(name not in (*_PLAIN, "gzip", "x-gzip", "deflate") for name in names) or len(names) > 4:
            raise Undecodable("bad_encoding")
        self._layers = [_Layer(name == "deflate") for name in reversed(names) if name not in _PLAIN]
        self._most = most

    def feed(self, part: bytes) -> bytes:
        for layer in self._layers:
            part = layer.feed(part, self._most + 1)
        self._most -= len(part)
        if self._most < 0:
            raise Undecodable("too_large")
        return part

    def end(self) -> None:
        """The body is over: was it whole?"""
        if any(not layer.ended for layer in self._layers):
            raise Undecodable("bad_encoding")


def decode(body: bytes, encoding: str, most: int) -> bytes:
    """A whole body. Raises Undecodable."""
    decoder = Decoder(encoding, most)
    plain = decoder.feed(body)
    decoder.end()
    return plain


class _Layer:
    def __init__(self, deflate: bool) -> None:
        self._deflate = deflate
        self._zlib = zlib.decompressobj(_AUTOMATIC)
        self._held = b""
        self._begun = False

    @property
    def ended(self) -> bool:
        """At its end, or nothing came at all, as with a HEAD."""
        return self._zlib.eof or not (self._begun or self._held)

    def feed(self, part: bytes, most: int) -> bytes:
        if not self._begun:
            part = self._held + part
            if len(part) < 2:
                self._held = part
                return b""
            self._begun = True
            if self._deflate and (part[0] & 15 != 8 or (part[0] * 256 + part[1]) % 31):
                self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)  # bare, as some servers understand "deflate"
        found = b""
        while part:
            if self._zlib.eof:  # a gzip body may have several members
                self._zlib = zlib.decompressobj(_AUTOMATIC)
            try:
                found += self._zlib.decompress(part, most - len(found))
            except zlib.error:
                raise Undecodable("bad_encoding") from None
            if self._zlib.unconsumed_tail or len(found) >= most:
                raise Undecodable("too_large")
            part = self._zlib.unused_data
        return found
