"""Sends one probe through the proxy, with the endpoint pinned, and waits for its end.

body ──> Request ──> Proxy.serve(request, pinned policy, ProbeSink) ──> ProbeRun: the ledger's row, and the answer
"""

from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from gateway.cache.response_cache import ResponseCache
from gateway.probe.canary_question import Json, ProbeAnswer
from gateway.probe.pinned import pinned_policy, probe_request
from gateway.probe.probe_log import ProbeLog
from gateway.probe.probe_sink import ProbeSink
from gateway.proxy.proxy import Proxy
from gateway.proxy.runtime import Runtime
from gateway.types import Endpoint, Model, Row

TOO_LONG = "context_length_exceeded"  # code of the gateway's own error


class ProbeRun(NamedTuple):
    """`row` is of the only attempt. `answer` is None where there was no whole answer."""

    row: Row
    answer: ProbeAnswer | None


class ProbeRunner:
    """`runtime` is the worker's own, except for where its outcomes go."""

    def __init__(self, runtime: Runtime, log: ProbeLog, cache: ResponseCache) -> None:
        self.runtime = runtime
        self._log = log
        self._proxy = Proxy(replace(runtime, outcomes=log), cache)

    def __repr__(self) -> str:
        return f"<ProbeRunner {len(self._log.rows)} under way>"

    async def run(self, body: Json, model: Model, endpoint: Endpoint) -> ProbeRun:
        """The timeouts of the pinned policy bound the wait."""
        request = probe_request(body, model, self.runtime.wall_clock())
        sink, rows = ProbeSink(), self._log.rows
        rows[request.id] = None
        try:
            self._proxy.serve(request, pinned_policy(endpoint.id), sink, self.runtime.clock())
            await sink.ended
        finally:
            sink.leave()
            row = rows.pop(request.id)
        assert row is not None, "an exchange ended without a row"
        return ProbeRun(row, _answer(sink, request.stream, row))


def _answer(sink: ProbeSink, streamed: bool, row: Row) -> ProbeAnswer | None:
    if streamed:
        return None
    try:
        body = orjson.loads(sink.body)
    except orjson.JSONDecodeError:
        return None
    if sink.status == 200 and row.outcome == "ok":
        return _of_message(body["choices"][0]["message"], row)
    error = body.get("error")
    if isinstance(error, dict) and error.get("code") == TOO_LONG and row.endpoint:
        return ProbeAnswer(refused=str(error.get("message")))
    return None


def _of_message(message: dict[str, Any], row: Row) -> ProbeAnswer:
    """Hidden reasoning is reasoning, too: its tokens are counted."""
    counted = f"{row.reasoning_tokens} tokens" if row.reasoning_tokens else ""
    calls = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    return ProbeAnswer(
        message.get("content") or "",
        message.get("reasoning_content") or message.get("reasoning") or counted,
        tuple((str(one.get("name")), str(one.get("arguments"))) for one in calls),
    )
