"""The two ways to ask for an inference, as plain ASGI: the whole answer at once, or each row as its batch is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import numpy as np
from opentelemetry.trace import Tracer
from starlette.types import Receive, Scope, Send

from model_server.batcher import Batcher, ComputeFailed, QueueFull, Ticket, Withdrawn
from model_server.metrics import ServerMetrics
from model_server.observe import STATE, Observation
from model_server.protocol import MAX_BODY, InferRequest, Refusal, error_event, events, infer_reply, parse

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream"


Answer = Callable[[Observation, InferRequest, Ticket], Awaitable[None]]


class ClientGone(Exception):
    """The client hung up before its request was complete."""


class Inference:
    """What both endpoints have in common. `batcher` gives the batcher, or raises Refusal while there is none."""

    def __init__(
        self, batcher: Callable[[], Batcher], model: tuple[str, str], metrics: ServerMetrics, tracer: Tracer
    ) -> None:
        """`model` is its name and version."""
        self._batcher = batcher
        self._model = model
        self._metrics = metrics
        self._tracer = tracer

    async def infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST .../infer: one JSON reply."""

        async def answer(_seen: Observation, request: InferRequest, ticket: Ticket) -> None:
            parts = [part async for part in ticket]
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
            await reply(send, 200, infer_reply(request, whole, *self._model))

        await self._serve(scope, receive, send, answer)

    async def infer_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST .../infer_stream: server-sent events.

        The reply starts with the first result, so that an error before it has a status of its own; an error after it
        is an event named error, and the last.
        """

        async def answer(seen: Observation, _request: InferRequest, ticket: Ticket) -> None:
            sent = 0
            async for part in ticket:
                if not sent:
                    await start(send, 200, EVENT_STREAM, (b"cache-control", b"no-cache"))
                    seen.streaming = True
                await send({"type": "http.response.body", "body": events(sent, part), "more_body": True})
                if not sent:
                    self._metrics.time_to_first_result.observe(time.perf_counter() - seen.arrived)
                sent += len(part)
            await send({"type": "http.response.body"})

        await self._serve(scope, receive, send, answer)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, answer: Answer) -> None:
        """Queue the request and let `answer` send its results; it leaves the queue when the client goes away."""
        seen: Observation = scope["state"][STATE]
        ticket: Ticket | None = None
        try:
            request = parse(await read_body(scope, receive))
            seen.rows = len(request.rows)
            ticket = self._submit(request)
            watch = asyncio.create_task(_withdraw_when_gone(receive, ticket))
            try:
                await answer(seen, request, ticket)
            finally:
                watch.cancel()
                ticket.withdraw()
        except Refusal as refusal:
            await _refuse(send, seen, refusal)
        except ComputeFailed as error:
            await _refuse(send, seen, Refusal(500, "inference-failed", str(error)))
        except asyncio.CancelledError:  # by the end of the server alone, after its patience
            await _refuse(send, seen, Refusal(503, "stopping", "the server ends before it could answer"))
        except (ClientGone, Withdrawn):
            seen.gone = True
        finally:
            if ticket is not None:
                self._describe(seen, ticket)

    def _submit(self, request: InferRequest) -> Ticket:
        try:
            return self._batcher().submit(request.rows)
        except QueueFull as full:
            raise Refusal(503, "overloaded", str(full)) from None

    def _describe(self, seen: Observation, ticket: Ticket) -> None:
        seen.batches = ticket.batches
        seen.queue_seconds = ticket.queue_seconds
        if ticket.batches:
            name, version = self._model
            attributes: dict[str, str | int] = {
                "ai.model.name": name,
                "ai.model.version": version,
                "ai.batch.rows": ticket.largest_batch,
                "ai.batch.count": ticket.batches,
            }
            span = self._tracer.start_span("predict", start_time=ticket.started_ns, attributes=attributes)
            span.end(ticket.ended_ns)


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises Refusal (413) as soon as it is known to be too large, ClientGone where it ends early."""
    too_large = Refusal(413, "body-too-large", f"the body has more than {MAX_BODY} bytes")
    if int(dict(scope["headers"]).get(b"content-length", b"0")) > MAX_BODY:
        raise too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message["body"]
        if len(body) > MAX_BODY:
            raise too_large
        if not message["more_body"]:
            return bytes(body)


async def start(send: Send, status: int, content_type: bytes, *headers: tuple[bytes, bytes]) -> None:
    """The head of a reply."""
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type), *headers]}
    )


async def reply(send: Send, status: int, body: bytes, content_type: bytes = JSON) -> None:
    """A whole reply. After a body that is too large the connection is not kept: the rest of it is still to come."""
    headers = [(b"content-length", b"%d" % len(body))]
    if status == 413:
        headers.append((b"connection", b"close"))
    await start(send, status, content_type, *headers)
    await send({"type": "http.response.body", "body": body})


async def _withdraw_when_gone(receive: Receive, ticket: Ticket) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    ticket.withdraw()


async def _refuse(send: Send, seen: Observation, refusal: Refusal) -> None:
    """Say so in a reply of its own, or in the last event of a stream that has begun."""
    seen.error = refusal.slug
    if seen.status is None:
        await reply(send, refusal.status, refusal.body())
    elif seen.streaming:
        await send({"type": "http.response.body", "body": error_event(refusal)})
