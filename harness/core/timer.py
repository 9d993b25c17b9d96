"""An absolute one-shot timer that an event loop can watch. epoll's own timers round to a millisecond; this does not."""

from __future__ import annotations

import ctypes
import os

_MONOTONIC, _ABSTIME = 1, 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.timerfd_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Itimerspec), ctypes.c_void_p)


class AbsoluteTimer:
    """`fd` becomes readable at the time it is armed for, and stays so until it is armed again or closed."""

    def __init__(self) -> None:
        self.fd: int = _libc.timerfd_create(_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _Itimerspec()

    def arm(self, moment_ns: int) -> None:
        """Fire at `moment_ns` on CLOCK_MONOTONIC; at once if that has passed."""
        self._spec.value.seconds, self._spec.value.nanoseconds = divmod(max(1, moment_ns), 1_000_000_000)
        if _libc.timerfd_settime(self.fd, _ABSTIME, ctypes.byref(self._spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        os.close(self.fd)
