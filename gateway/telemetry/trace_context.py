"""W3C Trace Context: which trace an exchange belongs to, and the ids of its spans.

    client ── traceparent 00-TRACE-PARENT-01 ──> exchange ──> attempt ── traceparent 00-TRACE-ATTEMPT-01 ──> host

Ids of spans are hashes of the exchange's id and the attempt's number, so they are known when a request is sent, and
again when its row is written, without anything kept in between. Without a valid `traceparent` the trace's id is a hash,
too.
"""

import re
from hashlib import blake2b
from typing import NamedTuple

from gateway.types.request import IncomingTrace

HostAddress = tuple[str, int]  # name and port
SAMPLED = 0x01
LONGEST_STATE = 512  # characters of `tracestate` that are passed on
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e]*")


class TraceContext(NamedTuple):
    """`parent` is the client's span; 0 without one, then `sampled` is None. `state` is the client's `tracestate`."""

    trace: int
    parent: int
    sampled: bool | None
    state: str


def context_of(exchange: str, incoming: IncomingTrace | None) -> TraceContext:
    """The trace of an exchange."""
    found = incoming and _TRACEPARENT.fullmatch(incoming.parent)
    if incoming and found and (found[1] != "00" or not found[5]):
        trace, parent = int(found[2], 16), int(found[3], 16)
        if trace and parent:
            state = incoming.state if _STATE.fullmatch(incoming.state) else ""
            return TraceContext(trace, parent, bool(int(found[4], 16) & SAMPLED), state[:LONGEST_STATE])
    return TraceContext(_digest(exchange, 16), 0, None, "")


def span_of(exchange: str, attempt: int = 0) -> int:
    """The id of the span of an attempt; 0: of the exchange."""
    return _digest(f"{exchange}-{attempt}", 8)


def headers_of(context: TraceContext, span: int, sampled: bool) -> bytes:
    """The header lines of a request that belongs to a span."""
    lines = f"traceparent: 00-{context.trace:032x}-{span:016x}-{int(sampled):02x}\r\n"
    return f"{lines}tracestate: {context.state}\r\n".encode() if context.state else lines.encode()


def _digest(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest(), "big")
