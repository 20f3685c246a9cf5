"""The error of an exchange that has failed: no endpoint could serve it, none answered, or the answer broke off.

dropped endpoints, their reasons ─┐
failures, in order ───────────────┴──> ClientError, in OpenAI's words; `surface/answer.py` writes it for each surface
"""

from collections.abc import Sequence
from typing import Any

from gateway.errors import BadRequest, ClientError, ContextTooLong, NoEndpoint, UpstreamError
from gateway.route.exchange import CONTENT_FILTER
from gateway.route.filters import CONTEXT, room
from gateway.route.plan import Plan
from gateway.surface.openrouter.errors import STATUSES
from gateway.types import Endpoint, Failure, Request, most_output
from gateway.upstream.rejection import counted

NAMED = 3  # endpoints that a message names where one reason removed them; `metadata` names all
WITHOUT_HINT = 1.0  # seconds to wait after a 429 that does not say how long


def gave_up(request: Request, plan: Plan, failures: Sequence[tuple[str, Failure]]) -> ClientError:
    """The error of an exchange that no endpoint answered."""
    if not failures:
        return _nothing_left(request, plan)
    endpoint, last = failures[-1]
    if last.fault.of_request:
        return _clients_own(request, plan, failures)
    metadata = {"attempts": [_shown(endpoint, failure) for endpoint, failure in failures]}
    status = _status([failure for _, failure in failures])
    if request.surface == "openrouter":
        status = STATUSES.get(status, status)
    waits = [failure.retry_after for _, failure in failures if failure.retry_after is not None]
    return UpstreamError(
        f"{_how_many(failures)}{endpoint}: {last.message}",
        status=status,
        code="rate_limit_exceeded" if status == 429 else last.fault,
        retry_after=min(waits, default=WITHOUT_HINT if status == 429 else None),
        metadata=metadata,
    )


def _how_many(failures: Sequence[tuple[str, Failure]]) -> str:
    """How many failed, where it is several: an endpoint may have been tried again."""
    attempts = len(failures)
    if attempts == 1:
        return ""
    if len({endpoint for endpoint, _ in failures}) < attempts:
        return f"{attempts} attempts failed, the last was at "
    return f"{attempts} endpoints failed, the last was "


def broke(endpoint: str, failure: Failure) -> ClientError:
    """The error for an answer that ended badly after its first token."""
    return UpstreamError(
        f"{endpoint}: the answer broke off: {failure.message}",
        code=failure.fault,
        metadata={"attempts": [_shown(endpoint, failure)]},
    )


def _clients_own(request: Request, plan: Plan, failures: Sequence[tuple[str, Failure]]) -> ClientError:
    """The request itself was refused: the host's words, from every host that refused it. OpenRouter's clients expect
    that another model is tried where the content was refused."""
    refusals = [(name, failure) for name, failure in failures if failure.fault.of_request]
    message = "; ".join(f"{name}: {failure.message}" for name, failure in refusals)
    last = refusals[-1][1]
    metadata = {"attempts": [_shown(endpoint, failure) for endpoint, failure in failures]}
    if last.param == "context":
        return _overflow(request, last.message, message, metadata)
    final = last.param == CONTENT_FILTER and plan.policy.content_filter == "final" and request.surface != "openrouter"
    return BadRequest(message, status=last.status, param=last.param, code=last.code, metadata=metadata, final=final)


def _overflow(request: Request, words: str, message: str, metadata: dict[str, Any]) -> ClientError:
    """A host has no room. Where it says that the prompt alone would fit, `max_tokens` is what is too large."""
    prompt, limit = counted(words)
    if prompt is None or limit is None:
        return ContextTooLong(message, metadata=metadata)
    sizes = {"prompt_tokens": prompt, "max_tokens": request.max_tokens, "largest_context": limit}
    param = "max_tokens" if request.max_tokens and prompt < limit else "messages"
    return ContextTooLong(message, metadata=metadata | sizes, param=param)


def _nothing_left(request: Request, plan: Plan) -> ClientError:
    """Which constraint removed which endpoint."""
    removed = [
        {"endpoint": one.endpoint.id, "constraint": one.reason.rule, "detail": one.reason.detail}
        for one in plan.dropped
    ]
    reasons = _grouped(removed) or "none is configured"
    message = f"no endpoint can serve this request under policy {plan.policy.name}: {reasons}"
    dropped = [one.endpoint for one in plan.dropped if one.reason.rule == CONTEXT]
    too_small = [endpoint for endpoint in dropped if request.prompt_tokens > room(endpoint, request)]
    if too_small:
        return _too_long(request, too_small, removed)
    return NoEndpoint(message, status=404 if removed else 503, metadata={"removed": removed})


def _grouped(removed: list[dict[str, str]]) -> str:
    """Each reason once, with the endpoints that it removed: their names where they are few, else how many."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in removed:
        groups.setdefault((one["constraint"], one["detail"]), []).append(one["endpoint"])
    lines = []
    for (constraint, detail), names in groups.items():
        who = ", ".join(names) if len(names) <= NAMED else f"{len(names)} endpoints"
        if 1 < len(names) == len(removed):
            who = f"all {len(names)}"
        lines.append(f"{who}: {constraint} ({detail})")
    return "; ".join(lines)


def _too_long(request: Request, endpoints: list[Endpoint], removed: list[dict[str, str]]) -> ClientError:
    """By how much the request is too long, at the endpoint where most would fit of those that it could go to; those
    come first where the prompt alone would fit, and `max_tokens` is what is too large."""
    alone = [one for one in endpoints if request.prompt_tokens < min(one.context, (one.max_input or one.context) + 1)]
    largest = max(alone or endpoints, key=lambda endpoint: room(endpoint, request))
    prompt, answer = request.prompt_tokens, most_output(largest, request) or 0
    over = prompt - room(largest, request)
    bound_by_input = largest.max_input is not None and room(largest, request) == largest.max_input
    most = largest.max_input if bound_by_input else largest.context
    needed = prompt if bound_by_input else prompt + answer
    needs = f"about {prompt:,} in the prompt" + (f" and {answer:,} for the answer" if answer else "")
    message = (
        f"the maximum context length for this request is {most:,} tokens{' of prompt' if bound_by_input else ''}, at"
        f" {largest.id}; it needs {needed:,} ({needs}): over by {over:,}"
    )
    if alone:
        message += f"; `max_tokens` may be up to {largest.context - prompt:,}"
    figures = {"needed_tokens": needed, "largest_context": most, "over_by": over}
    sizes = {"endpoint": largest.id, "prompt_tokens": prompt, "max_tokens": answer or None}
    param = "max_tokens" if alone else "messages"
    return ContextTooLong(message, metadata={**figures, **sizes, "removed": removed}, param=param)


def _status(failures: list[Failure]) -> int:
    """429 or 504 where each attempt ended so, 503 where no host took the request."""
    statuses = {failure.fault.status for failure in failures}
    if statuses in ({429}, {504}):
        return statuses.pop()
    return 503 if all(failure.fault.unavailable for failure in failures) else 502


def _shown(endpoint: str, failure: Failure) -> dict[str, Any]:
    return {"endpoint": endpoint, "fault": failure.fault, "status": failure.status, "message": failure.message}
