"""A keep-alive HTTP/1.1 client: every request ends in a reply and in one sample, whatever happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from harness.load.http_body import ACCEPTED, Undecodable, decode
from harness.load.http_connection import Connection, Limits, Runtime
from harness.load.http_message import Encoder, Target
from harness.load.http_pool import Again, NoConnection, Pool, Settings
from harness.load.http_redirect import Hop, leads_on
from harness.load.http_stream import StreamReply
from harness.load.http_tls import Tls
from harness.load.reply import Reply, parse_head
from harness.load.sink import Channel, Moment

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
_REMEMBERED = 4096


class HttpClient:
    """Requests of one user, one at a time but for streams. Nothing is retried but a request that met a connection which
    the server had closed while it was idle, and only if it cannot have been carried out or may be carried out twice.

    channel: finds where a method and name are recorded; moment: called once a request; timeout: seconds for a whole
    reply, connecting and redirects included; redirects: how many are followed; decompress: ask for compressed replies
    and unpack them. Raises OSError for certificates that cannot be read.
    """

    def __init__(
        self,
        target: Target,
        runtime: Runtime,
        *,
        channel: Callable[[str, str], Channel],
        moment: Callable[[int], Moment],
        timeout: float = 10.0,
        connect_timeout: float = 5.0,
        trace: bool = True,
        redirects: int = 0,
        decompress: bool = False,
        limits: Limits | None = None,
        tls: Tls | None = None,
    ) -> None:
        limits, tls = limits or Limits(), tls or Tls()
        if target.tls:
            tls.context()
        self.target, self.channel, self.moment = target, channel, moment
        self.encoder = Encoder(target, trace=trace)
        self.timeout_ns = round(timeout * 1e9)
        self.redirects, self.decompress, self.limits = redirects, decompress, limits
        self._trace, self._runtime = trace, runtime
        self._settings = Settings(round(connect_timeout * 1e9), limits, tls)
        self.pool = Pool(target, runtime, self._settings)
        self._pools = {target.origin: self.pool}
        self._known: dict[tuple[str, str, str | None], Prepared] = {}

    def get(
        self,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        known = self._known.get(("GET", path, name)) if headers is None else None
        return (known or self._find("GET", path, name, headers)).send(json, data, timeout)

    def post(
        self,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        known = self._known.get(("POST", path, name)) if headers is None else None
        return (known or self._find("POST", path, name, headers)).send(json, data, timeout)

    def put(
        self,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        known = self._known.get(("PUT", path, name)) if headers is None else None
        return (known or self._find("PUT", path, name, headers)).send(json, data, timeout)

    def delete(
        self,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        known = self._known.get(("DELETE", path, name)) if headers is None else None
        return (known or self._find("DELETE", path, name, headers)).send(json, data, timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Send and read to the end. path: begins with /, may hold a query; json: encoded as the body, instead of data;
        name: what it is recorded under (default: the path without its query); timeout: seconds for the whole reply,
        instead of the user's.

        Raises ValueError or TypeError for what cannot be sent; no failure of the network or the server raises.
        """
        return self._find(method, path, name, headers).send(json, data, timeout)

    def stream(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> StreamReply:
        """A reply that is read as it comes; see StreamReply. Redirects are not followed."""
        return self._find(method, path, name, headers).stream(json, data, timeout)

    def prepare(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> Prepared:
        """A request of which everything that stays the same is encoded once; json: the body of those sent without.

        Raises ValueError or TypeError for what cannot be sent.
        """
        return Prepared(self, method, path, json, headers, name or path.partition("?")[0])

    def one_trace(self) -> AbstractContextManager[str]:
        """`with client.one_trace() as trace_id:` - the requests made in the block belong to one trace."""
        return self.encoder.one_trace()

    def close(self) -> None:
        """Close the connections; the next request opens another."""
        for pool in self._pools.values():
            pool.close()

    def pool_of(self, target: Target) -> Pool:
        """The connections to another server, where a redirect has led."""
        if target.origin not in self._pools:
            self._pools[target.origin] = Pool(target, self._runtime, self._settings)
        return self._pools[target.origin]

    def elsewhere(self, hop: Hop) -> Encoder:
        """Encodes requests to where a redirect leads."""
        return Encoder(Target(f"{hop.target.scheme}://{hop.target.netloc}"), trace=self._trace)

    def _find(self, method: str, path: str, name: str | None, headers: Mapping[str, str] | None) -> Prepared:
        found = self._known.get((method, path, name)) if headers is None else None
        if found is None:
            found = self.prepare(method, path, headers=headers, name=name)
            if headers is None and len(self._known) < _REMEMBERED:
                self._known[method, path, name] = found
        return found


class Prepared:
    """`search = client.prepare("POST", "/search", name="search")`, then `search.send({"query": ...})`."""

    __slots__ = ("_channel", "_client", "_head", "_head_only", "_headers", "_idempotent", "_method", "_moment", "_path")

    def __init__(
        self,
        client: HttpClient,
        method: str,
        path: str,
        json: Any,
        headers: Mapping[str, str] | None,
        name: str,
    ) -> None:
        if client.decompress:
            headers = {"Accept-Encoding": ACCEPTED, **(headers or {})}
        self._client, self._method, self._path, self._headers = client, method, path, headers
        self._head = client.encoder.head(method, path, headers, json)
        self._channel = client.channel(method, name)
        self._moment = client.moment
        self._idempotent = method in _IDEMPOTENT
        self._head_only = method == "HEAD"

    def send(self, json: Any = None, data: bytes | str | None = None, timeout: float | None = None) -> Reply:
        """Send and read to the end; see HttpClient.request."""
        start = time.monotonic_ns()
        client, channel = self._client, self._channel
        message = self._head.message(json, data)
        moment = self._moment(start)
        deadline = start + (client.timeout_ns if timeout is None else round(timeout * 1e9))
        pool = client.pool
        connection = pool.exchange(message, deadline, channel, moment, self._idempotent, self._head_only)
        error = connection.error
        if client.redirects and error is None and leads_on(connection.status):
            pool, connection, error = self._follow(connection, json, data, deadline, moment)
        end = connection.end_ns or time.monotonic_ns()
        body = connection.body
        if client.decompress and error is None and body:
            body, error = self._plain(connection.head, body)
        if error is None:
            status = connection.status
            failed = None if status < 400 else f"http_{status}"
            reply = Reply(status, connection.head, body, failed, end - moment.since_ns)
        else:  # no whole reply
            reply = Reply(0, b"", b"", error, end - moment.since_ns)
        pool.give_back(connection)
        channel.finished(moment, start, end, reply)
        return reply

    def stream(self, json: Any = None, data: bytes | str | None = None, timeout: float | None = None) -> StreamReply:
        """A reply that is read as it comes; see HttpClient.stream."""
        start = time.monotonic_ns()
        client, channel = self._client, self._channel
        message = self._head.message(json, data)
        moment = self._moment(start)
        deadline = start + (client.timeout_ns if timeout is None else round(timeout * 1e9))

        def begin() -> Connection | NoConnection:
            return client.pool.exchange(message, deadline, channel, moment, self._idempotent, self._head_only, True)

        def ended(reply: StreamReply, connection: Connection | NoConnection) -> None:
            end = connection.end_ns or time.monotonic_ns()
            reply.latency_ns = end - moment.since_ns
            client.pool.give_back(connection)
            channel.finished(moment, start, end, reply)

        return StreamReply(begin, ended, moment.since_ns, client.limits.reply)

    def _plain(self, head: bytes, body: bytes) -> tuple[bytes, str | None]:
        try:
            return decode(body, parse_head(head).get("content-encoding", ""), self._client.limits.reply), None
        except Undecodable as undecodable:
            return b"", undecodable.outcome

    def _follow(
        self, connection: Connection | NoConnection, json: Any, data: bytes | str | None, deadline: int, moment: Moment
    ) -> tuple[Pool, Connection | NoConnection, str | None]:
        """Go where the redirects lead; returns the last connection, where it belongs, and the kind of error or None."""
        client, pool = self._client, self._client.pool
        target, method, again = client.target, self._method, Again(self._channel)
        url = f"{target.scheme}://{target.netloc}{target.base}{self._path}"
        seen, headers = {(method, url)}, self._headers
        for _ in range(client.redirects):
            try:
                hop = Hop(method, url, connection.status, parse_head(connection.head).get("location", ""))
                headers = hop.headers(headers, target)
                if not hop.keeps_body:
                    json = data = None
                message = client.elsewhere(hop).head(hop.method, hop.path, headers).message(json, data)
            except ValueError:
                return pool, connection, "bad_redirect"
            method, url, target = hop.method, hop.url, hop.target
            if (method, url) in seen:
                return pool, connection, "redirect_loop"
            seen.add((method, url))
            pool.give_back(connection)
            pool = client.pool_of(target)
            connection = pool.exchange(message, deadline, again, moment, method in _IDEMPOTENT, method == "HEAD")
            if connection.error is not None or not leads_on(connection.status):
                return pool, connection, connection.error
        return pool, connection, "too_many_redirects"
