"""What the replies of the stores have in common."""

from __future__ import annotations


class StoreReply:
    """error: None, or the kind of it; detail: the server's own words; size: bytes of the reply; latency_ns: from the
    scheduled time if this was the first request of its task, else from the call, to the last byte."""

    __slots__ = ("detail", "error", "latency_ns", "size")

    def __init__(self, error: str | None, detail: str, size: int, latency_ns: int) -> None:
        self.error = error
        self.detail = detail
        self.size = size
        self.latency_ns = latency_ns

    @property
    def ok(self) -> bool:
        """Answered, and not by an error."""
        return self.error is None

    def __repr__(self) -> str:
        said = f"{self.error or 'ok'} {self.detail}".strip()
        return f"<{type(self).__name__} {said}, {self.size} bytes, {self.latency_ns / 1e6:.1f} ms>"
