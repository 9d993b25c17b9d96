"""TLS on a connection: the records are taken apart in memory, in the loop, as HTTP is."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import NamedTuple

from harness.load.http_connection import CHUNK, Connection, Limits, Runtime
from harness.load.sink import Moment

_NO_MOMENT = Moment(0, 0)


class Tls(NamedTuple):
    """How servers are trusted, and how this client shows who it is.

    verify: refuse a certificate that does not fit the name or that nobody trusted has signed; ca: file of the
    authorities that are trusted, instead of the system's; cert: file of this client's certificate and key, or of each;
    server_name: the name that is asked for and checked, instead of the URL's host.
    """

    verify: bool = True
    ca: str | Path | None = None
    cert: str | Path | tuple[str | Path, str | Path] | None = None
    server_name: str | None = None

    def context(self) -> ssl.SSLContext:
        """Made once for each way of trusting: reading the authorities takes many milliseconds. Raises OSError for
        files that are missing or are no certificates."""
        if (found := _contexts.get(self)) is None:
            found = _contexts[self] = self.load()
        return found

    def load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.ca is not None:
            context.load_verify_locations(self.ca)
        else:
            context.load_default_certs()
        if self.cert is not None:
            files = self.cert if isinstance(self.cert, tuple) else (self.cert,)
            context.load_cert_chain(*files)
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        return context


_contexts: dict[Tls, ssl.SSLContext] = {}


class TlsConnection(Connection):
    """A connection that speaks TLS; `handshake` comes before the first `exchange`."""

    def __init__(self, connected: socket.socket, runtime: Runtime, limits: Limits, tls: Tls, host: str) -> None:
        self._shaking = False
        self._come, self._go = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.context().wrap_bio(self._come, self._go, server_hostname=tls.server_name or host)
        super().__init__(connected, runtime, limits)

    def handshake(self, deadline_ns: int) -> str | None:
        """Agree with the server on keys; returns the kind of error or None."""
        self._begin(False, False)
        self._channel, self._moment, self.deadline_ns = None, _NO_MOMENT, deadline_ns
        self._shaking = True
        try:
            self._shake()
            while not self._done:
                self._wait()
        except BaseException:
            self.over = True
            raise
        return "connect_timeout" if self.error == "timeout" else self.error

    def _send(self, message: bytes) -> None:
        try:
            self._tls.write(message)
        except ssl.SSLError:
            self.finish("tls")
            return
        self._flush()

    def _flush(self) -> None:
        """Send what TLS has to say: in its order, behind what could not be sent yet."""
        if self._go.pending:
            waiting, self._rest = self._rest, b""
            super()._send(waiting + self._go.read())

    def _on_writable(self) -> None:
        self._writable.stop()
        rest, self._rest = self._rest, b""
        if rest and not self._closed:
            super()._send(rest)

    def _on_readable(self) -> None:
        try:
            data = self._receive(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lost("reset")
            return
        if data:
            self._come.write(data)
        else:
            self._come.write_eof()
        if self._shaking:
            self._shake()
        if not self._shaking and not self._closed:
            self._take()
        if not data and not self._closed:
            self._lost(None)

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLCertVerificationError:
            self._flush()
            self.finish("tls_untrusted")
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self.finish("closed")
        except ssl.SSLError:
            self._flush()
            self.finish("tls")
        else:
            self._shaking = False
            self._keep_alive = True
            self._flush()
            self.finish(None)

    def _take(self) -> None:
        """Feed what is readable. A reply that ends with the connection must be ended by TLS, not by a lost peer."""
        while not self._closed:
            try:
                plain = self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLEOFError:
                self._lost("short_body" if self.begun else "closed")
                return
            except ssl.SSLError as error:
                self._lost(None if isinstance(error, ssl.SSLZeroReturnError) else "tls")
                return
            if not plain:
                self._lost(None)
                return
            if self._done:
                self._lost("bad_http")
                return
            self._feed(plain)
        if not self._closed:
            self._flush()
