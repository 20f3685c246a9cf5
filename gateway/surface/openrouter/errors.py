"""Errors as OpenRouter's clients read them.

    {"error": {"code": 429, "message", "metadata": {error_type, provider_name, raw, previous_errors, ...},
               "availability": {code, retryable, retry_after, requested_models, excluded, excluded_by, ...}}}

`metadata` describes the failed attempts, mainly the last one; `availability` says why no endpoint could serve, with the
constraint that excluded each one. `raw` is the host's own message, redacted.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.errors import ClientError, NoEndpoint, UpstreamError
from gateway.route.plan import Plan
from gateway.surface.openrouter.shape import CHUNK, provider_name
from gateway.types import FAULTS, Request

Json = dict[str, Any]

STATUSES = {504: 524}  # status on OpenAI's surface -> on this one: OpenRouter has no 504
_TYPES = {  # `error_type` by status, if `_SPECIFIC` has none
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    405: "invalid_request",
    412: "precondition_failed",
    413: "payload_too_large",
    415: "invalid_request",
    422: "unprocessable",
    429: "rate_limit_exceeded",
    500: "server",
    502: "provider_unavailable",
    503: "provider_overloaded",
    504: "timeout",
    524: "timeout",
}
_SPECIFIC = {
    "context_length_exceeded": "context_length_exceeded",
    "content_filter": "content_policy_violation",
    "max_tokens": "max_tokens_exceeded",
}  # `error_type` by the error's `code` or `param`
_EXCLUDED_BY = {
    "capability": "require_parameters",
    "context": "context_length",
    "max_output": "context_length",
    "pick.endpoint": "allowed_providers",
    "price.cached_input": "max_price",
    "price.input": "max_price",
    "price.output": "max_price",
    "require.ignore": "allowed_providers",
    "require.no_training": "data_policy:training",
    "require.only": "allowed_providers",
    "require.quantization": "quantization",
    "require.region": "data_region",
    "require.zdr": "data_policy:zdr",
}  # OpenRouter's names for our constraints, where it has one
_RESTATED = frozenset({"attempts", "removed"})  # metadata that is converted to OpenRouter's fields
_PRIVACY = frozenset({"data_policy:training", "data_policy:zdr"})


def error_body(error: ClientError, request: Request | None = None, plan: Plan | None = None) -> Json:
    """The response body. `request` and `plan` are None if the error occurred before they were made."""
    names = _names(plan)
    translated: Json = {"code": error.status, "message": error.message, "metadata": _metadata(error, names)}
    if availability := _availability(error, names, request, plan):
        translated["availability"] = availability
    body: Json = {"error": translated}
    if request is not None and plan is not None and request.tells_routing:
        body["openrouter_metadata"] = routing(request, plan, "", len(_attempts(error)))
    return body


def error_chunk(request: Request, error: ClientError, plan: Plan, endpoint: str) -> Json:
    """The last chunk of a stream that failed. `endpoint` was answering; it is empty if none answered."""
    names = _names(plan)
    tried = [one["endpoint"] for one in _attempts(error)]
    provider = names.get(endpoint or (tried[-1] if tried else ""))
    return {
        "id": request.id,
        "object": CHUNK,
        "created": request.created,
        "model": request.model,
        **({"provider": provider} if provider else {}),
        **error_body(error, request, plan),
        "choices": [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": ""},
                "finish_reason": "error",
                "native_finish_reason": "error",
            }
        ],
    }


def routing(request: Request, plan: Plan, endpoint: str, attempts: int) -> Json:
    """`openrouter_metadata`: the available endpoints, with the selected one marked (none if `endpoint` is empty)."""
    available = [
        {
            "provider": provider_name(one),
            "model": request.model,
            "endpoint": one.id,
            "selected": one.id == endpoint,
        }
        for one in plan.endpoints
    ]
    selected = next((one["provider"] for one in available if one["selected"]), None)
    return {
        "requested": next(iter(_models(request)), request.model),
        "strategy": "direct",
        "region": None,
        "summary": f"available={len(available)}, selected={selected}",
        "attempt": attempts,
        "is_byok": False,
        "endpoints": {"total": len(available) + len(plan.dropped), "available": available},
    }


def _metadata(error: ClientError, names: Mapping[str, str]) -> Json:
    metadata: Json = {"error_type": _type(error)}
    if error.param:
        metadata["param"] = error.param
    if error.code:
        metadata["provider_code" if _attempts(error) else "error_code"] = error.code
    metadata.update({name: value for name, value in (error.metadata or {}).items() if name not in _RESTATED})
    if attempts := _attempts(error):
        last = attempts[-1]
        metadata["provider_name"] = names.get(last["endpoint"], last["endpoint"])
        metadata["endpoint"] = last["endpoint"]
        metadata["raw"] = last["message"]
        metadata["is_byok"] = False
        metadata["previous_errors"] = [_previous(one, names) for one in attempts[:-1]]
    return metadata


def _previous(attempt: Json, names: Mapping[str, str]) -> Json:
    status = _status(attempt)
    name = names.get(attempt["endpoint"], attempt["endpoint"])
    return {"provider": name, "code": _TYPES.get(status, "provider_unavailable"), "status": status}


def _status(attempt: Json) -> int:
    status = attempt["status"] or 0
    return status if status >= 400 else FAULTS[attempt["fault"]].status


def _type(error: ClientError) -> str:
    return _SPECIFIC.get(error.code or "") or _SPECIFIC.get(error.param or "") or _TYPES.get(error.status) or "server"


def _availability(
    error: ClientError, names: Mapping[str, str], request: Request | None, plan: Plan | None
) -> Json | None:
    """Why no endpoint could serve; None if the request itself is invalid, so that any endpoint would reject it."""
    removed = list(_removed(plan, names))
    by = sorted({_EXCLUDED_BY[one["constraint"]] for one in removed if one["constraint"] in _EXCLUDED_BY})
    code = _code(error, removed, by)
    if code is None:
        return None
    availability: Json = {"code": code, "retryable": isinstance(error, UpstreamError) or error.status == 503}
    if error.retry_after is not None:
        availability["retry_after"] = error.retry_after
    if request is not None:
        availability["requested_models"] = _models(request)
    if attempts := _attempts(error):
        availability["affected_providers"] = list(
            dict.fromkeys(names.get(one["endpoint"], one["endpoint"]) for one in attempts)
        )
    if by:
        availability["excluded_by"] = by
    if removed:
        availability["excluded"] = removed
    if error.param and code == "constraint_filtered":
        availability["constraint"] = {"field": error.param, "detail": error.message}
    return availability


def _code(error: ClientError, removed: list[Json], by: list[str]) -> str | None:
    if error.code == "model_not_found" or (error.code == "policy_not_found" and error.param == "model"):
        return "model_not_found"
    if isinstance(error, UpstreamError):
        return "capacity_exhausted" if error.status == 429 else "temporarily_unavailable"
    if error.code == "shutting_down":
        return "temporarily_unavailable"
    none_left = isinstance(error, NoEndpoint) or (error.code == "context_length_exceeded" and bool(removed))
    if not none_left:
        return None
    if not removed and error.param is None:
        return "no_endpoints"
    return "privacy_restricted" if by and _PRIVACY.issuperset(by) else "constraint_filtered"


def _models(request: Request) -> list[str]:
    others = request.body.get("models")
    named = [request.body.get("model"), *(others if isinstance(others, list) else ())]
    return [name for name in named if isinstance(name, str)]


def _attempts(error: ClientError) -> list[Json]:
    found: list[Json] = (error.metadata or {}).get("attempts", [])
    return found


def _names(plan: Plan | None) -> dict[str, str]:
    """Display names of the providers, by endpoint id."""
    if plan is None:
        return {}
    endpoints = plan.endpoints + [one.endpoint for one in plan.dropped]
    return {endpoint.id: provider_name(endpoint) for endpoint in endpoints}


def _removed(plan: Plan | None, names: Mapping[str, str]) -> Iterator[Json]:
    """The excluded endpoints, each with its constraint."""
    for one in () if plan is None else plan.dropped:
        name, why = one.endpoint.id, one.reason
        yield {"endpoint": name, "provider": names[name], "constraint": why.rule, "detail": why.detail}
