"""What requests may say, as schemas. Fields that are not here go to the host as they came."""

from gateway.api.openapi_terms import (
    FLAG,
    NUMBER,
    OBJECT,
    POSITIVE,
    TEXT,
    Schema,
    about,
    maybe,
    named,
    of_each,
    one_of,
    record,
    several,
)
from gateway.api.options import EFFORTS, LONGEST_SESSION, LONGEST_TTL, MIDDLE_OUT, MOST_MODELS, PLUGINS, TIERS
from gateway.api.parse import MOST_CHOICES

_PERCENTILES = record({}, of_each(("p50", "p75", "p90", "p99"), NUMBER))
_CUTOFF = maybe({"anyOf": [NUMBER, _PERCENTILES]})
_NAMES = maybe(several(TEXT))
_PROVIDER = record(
    {},
    {
        **of_each(("order", "only", "ignore"), _NAMES),
        **of_each(("allow_fallbacks", "require_parameters", "zdr", "enforce_distillable_text"), maybe(FLAG)),
        "quantizations": _NAMES,
        "sort": maybe({"anyOf": [one_of("price", "throughput", "latency", "exacto"), OBJECT]}),
        "max_price": maybe(OBJECT),
        **of_each(("preferred_min_throughput", "preferred_max_latency"), _CUTOFF),
        "data_collection": maybe(one_of("allow", "deny")),
        "options": maybe(OBJECT),
    },
)
_SAMPLING = of_each(("temperature", "top_p", "frequency_penalty", "presence_penalty"), maybe(NUMBER))
_ROUTING: dict[str, Schema] = {
    "provider": about("narrows the policy for this request", maybe(named("Provider"))),
    "models": about(
        "asked after `model`, in this order, until one answers", maybe(several(TEXT) | {"maxItems": MOST_MODELS})
    ),
    "route": about("without effect", maybe(one_of("fallback", "sort"))),
    "plugins": maybe(several(record({"id": one_of(*sorted(PLUGINS))}, {"enabled": FLAG}))),
    "transforms": maybe(several(one_of(MIDDLE_OUT))),
    "session_id": maybe(TEXT | {"maxLength": LONGEST_SESSION}),
    "preset": about("the name of a policy", maybe(TEXT)),
    "service_tier": about("without effect", maybe(one_of(*TIERS))),
    **of_each(("metadata", "trace", "usage", "debug"), about("without effect", maybe(OBJECT))),
}
_THINKING: dict[str, Schema] = {
    "reasoning": about(
        "switches thinking; `effort` or `max_tokens`, not both",
        maybe(
            record({}, {**of_each(("enabled", "exclude"), FLAG), "effort": one_of(*EFFORTS), "max_tokens": POSITIVE})
        ),
    ),
    "include_reasoning": maybe(FLAG),
    "reasoning_effort": maybe(TEXT),
}
HEADERS: dict[str, Schema] = {
    "x-gateway-policy": TEXT,
    "x-gateway-cache": one_of("on", "no-store", "refresh"),
    "x-gateway-explain": one_of("on"),
    "x-openrouter-cache": one_of("true", "false"),
    "x-openrouter-cache-ttl": {"type": "integer", "minimum": 1, "maximum": LONGEST_TTL},
    "x-openrouter-cache-clear": one_of("true", "false"),
    "x-openrouter-metadata": one_of("enabled", "disabled"),
    "x-openrouter-title": about("names the app; so do X-Title and HTTP-Referer", TEXT),
    "x-session-id": TEXT | {"maxLength": LONGEST_SESSION},
}
_STREAM = {"stream": maybe(FLAG)}
_MAX = maybe(POSITIVE)
_MODEL = {"model": named("ModelName")}

SCHEMAS: dict[str, Schema] = {
    "Provider": _PROVIDER,
    "ChatRequest": record(
        {
            **_MODEL,
            "messages": several(record({"role": TEXT}, {"content": maybe({"anyOf": [TEXT, several(OBJECT)]})}), 1),
        },
        {
            **_STREAM,
            **_SAMPLING,
            **_ROUTING,
            **_THINKING,
            "stream_options": maybe(record({}, {"include_usage": FLAG})),
            **of_each(("max_tokens", "max_completion_tokens"), _MAX),
            "n": maybe({"type": "integer", "minimum": 1, "maximum": MOST_CHOICES}),
            "tools": maybe(several(OBJECT)),
            "response_format": maybe(record({"type": one_of("text", "json_object", "json_schema")})),
        },
    ),
    "TextRequest": record(
        {**_MODEL, "prompt": {"anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 1}]}},
        {**_STREAM, **_SAMPLING, **_ROUTING, "max_tokens": _MAX},
    ),
    "ResponsesRequest": record(
        {**_MODEL, "input": {"anyOf": [TEXT, several(OBJECT, 1)]}},
        {
            **_STREAM,
            **_ROUTING,
            **of_each(("temperature", "top_p"), maybe(NUMBER)),
            "instructions": maybe(TEXT),
            "max_output_tokens": _MAX,
            "tools": maybe(several(record({"type": TEXT}))),
            "previous_response_id": about("a response that is kept, whose conversation goes on", maybe(TEXT)),
            "store": about("whether the response is kept; true where it is not said", maybe(FLAG)),
            "reasoning": maybe(OBJECT),
            "text": maybe(OBJECT),
        },
    ),
    "MessagesRequest": record(
        {
            **_MODEL,
            "messages": several(
                record({"role": one_of("user", "assistant"), "content": {"anyOf": [TEXT, several(OBJECT)]}}), 1
            ),
        },
        {
            **_ROUTING,
            "max_tokens": _MAX,
            "system": {"anyOf": [TEXT, several(OBJECT)]},
            "stream": FLAG,
            **of_each(("temperature", "top_p"), NUMBER),
            "tools": several(record({"name": TEXT}, {"type": TEXT, "input_schema": OBJECT})),
            "thinking": record({"type": one_of("enabled", "adaptive", "between_tools", "disabled")}),
        },
    ),
}


def _modelless(schema: Schema) -> Schema:
    """The same without a model, for which OpenRouter has a default."""
    return about(
        "without `model`, the gateway's first one answers",
        {**schema, "required": [name for name in schema["required"] if name != "model"]},
    )


SCHEMAS |= {
    f"OpenRouter{name}": _modelless(SCHEMAS[name]) for name in ("ChatRequest", "TextRequest", "ResponsesRequest")
}
