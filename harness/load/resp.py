"""Redis' protocol, version 2: commands as bytes, and replies out of any pieces in which they come. Pure."""

from __future__ import annotations

import re
from typing import Any

MOST_BYTES = 512 * 1024 * 1024  # in one string: Redis' own bound
MOST_ITEMS = 16 * 1024 * 1024  # in one array
MOST_DEPTH = 32
LONGEST_LINE = 65_536

_WORD = re.compile("[A-Za-z0-9_-]{1,32}")

Argument = bytes | str | int | float


class RespError(Exception):
    """What came is not the protocol; the message says where."""


class ErrorReply:
    """An error of the server's as a value, for in a pipeline others may be none.

    kind: its first word, as ERR or OOM, in lower case; "other" where that is no word.
    """

    __slots__ = ("kind", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        word = text.split(" ", 1)[0]
        self.kind = word.lower() if _WORD.fullmatch(word) else "other"

    def __repr__(self) -> str:
        return f"<ErrorReply {self.text}>"


def encode(*arguments: Argument) -> bytes:
    """One command. Raises TypeError for an argument that is neither bytes, text nor a number."""
    parts = [b"*%d\r\n" % len(arguments)]
    for one in arguments:
        if isinstance(one, str):
            one = one.encode()
        elif isinstance(one, int | float) and not isinstance(one, bool):
            one = repr(one).encode()
        elif not isinstance(one, bytes):
            raise TypeError(f"{one!r} cannot be an argument of a command: give bytes, text or a number")
        parts.append(b"$%d\r\n%b\r\n" % (len(one), one))
    return b"".join(parts)


class Reader:
    """Takes bytes as they come and gives whole replies: bytes, int, None, a list, or an ErrorReply.

    Linear in what comes, however it is cut: a long string is put together once.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0  # of the pieces
        self._need = 0  # so many bytes must be there before anything can be told
        self._open: list[tuple[list[Any], int]] = []  # the arrays around the next value, and their lengths

    @property
    def in_between(self) -> bool:
        """Neither a reply nor a part of one is waiting for more."""
        return not self._size and not self._open

    def feed(self, data: bytes) -> list[Any]:
        """The replies that are whole now. Raises RespError, after which nothing more can be read."""
        if self._size:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._need:
                return []
            data = b"".join(self._pieces)
        return self._parse(data)

    def _parse(self, data: bytes) -> list[Any]:
        found: list[Any] = []
        at = 0
        while at < len(data):
            end = data.find(b"\r\n", at)
            if end < 0:
                if len(data) - at > LONGEST_LINE:
                    raise RespError("a line has no end")
                self._need = 0
                break
            kind, line = data[at], data[at + 1 : end]
            after = end + 2
            value: Any
            if kind == 36:  # $
                length = _number(line)
                if length < 0:
                    value = None
                elif length > MOST_BYTES:
                    raise RespError(f"a string of {length} bytes")
                elif len(data) < after + length + 2:
                    self._need = after - at + length + 2
                    break
                else:
                    value = data[after : after + length]
                    after += length + 2
                    if data[after - 2 : after] != b"\r\n":
                        raise RespError("a string is longer than its length")
            elif kind == 58:  # :
                value = _number(line)
            elif kind == 43:  # +
                value = line
            elif kind == 45:  # -
                value = ErrorReply(line.decode("utf-8", "replace"))
            elif kind == 42:  # *
                length = _number(line)
                if length > MOST_ITEMS or len(self._open) >= MOST_DEPTH:
                    raise RespError(f"an array of {length} items, {len(self._open)} deep")
                if length > 0:
                    self._open.append(([], length))
                    at = after
                    continue
                value = None if length < 0 else []
            else:
                raise RespError(f"a reply begins with {chr(kind)!r}")
            at = after
            self._place(value, found)
        rest = data[at:]
        self._pieces, self._size = ([rest], len(rest)) if rest else ([], 0)
        return found

    def _place(self, value: Any, found: list[Any]) -> None:
        while self._open:
            items, length = self._open[-1]
            items.append(value)
            if len(items) < length:
                return
            self._open.pop()
            value = items
        found.append(value)


def _number(line: bytes) -> int:
    digits = line[1:] if line[:1] == b"-" else line
    if not digits.isdigit() or len(digits) > 19:
        raise RespError(f"{line[:20]!r} is no number")
    return int(line)
