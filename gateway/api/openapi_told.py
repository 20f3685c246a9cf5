"""What the gateway answers, as schemas. Answers that it makes itself are closed; hosts may add to theirs."""

from gateway.api.openapi_terms import (
    ANY,
    COUNT,
    FLAG,
    MOMENT,
    NULL,
    NUMBER,
    OBJECT,
    PRICE,
    TEXT,
    Schema,
    about,
    data,
    exactly,
    maybe,
    named,
    of_each,
    one_of,
    record,
    several,
)

_PERCENTILES = ("p50", "p75", "p90", "p99")
_USAGE = record(
    {"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT},
    {
        "cost": about("USD", NUMBER),
        "prompt_tokens_details": record({"cached_tokens": COUNT}),
        "completion_tokens_details": record({"reasoning_tokens": COUNT}),
    },
)
_CHOICE = record(
    {
        "index": COUNT,
        "finish_reason": maybe(TEXT),
        "message": record(
            {"role": one_of("assistant")},
            {"content": maybe(TEXT), "reasoning_content": TEXT, "tool_calls": several(OBJECT)},
        ),
    }
)

_ERRORS: dict[str, Schema] = {
    "Error": exactly(
        {
            "error": exactly(
                {"message": TEXT, "type": TEXT, "param": maybe(TEXT), "code": maybe(TEXT)},
                {"metadata": about("what each host said, or which constraint removed which endpoint", OBJECT)},
            )
        }
    ),
    "OpenRouterError": exactly(
        {
            "error": exactly(
                {
                    "code": about("the HTTP status", {"type": "integer"}),
                    "message": TEXT,
                    "metadata": record({"error_type": TEXT}),
                },
                {"availability": about("why no endpoint could serve", record({"code": TEXT, "retryable": FLAG}))},
            )
        },
        {"openrouter_metadata": OBJECT},
    ),
    "AnthropicError": exactly(
        {
            "type": one_of("error"),
            "error": exactly({"type": TEXT, "message": TEXT}, {"metadata": OBJECT}),
            "request_id": TEXT,
        }
    ),
}

_ANSWERS: dict[str, Schema] = {
    "Event": about("one event of a stream; comments are none", exactly({"data": TEXT}, {"event": TEXT})),
    "ChatCompletion": record(
        {
            "id": TEXT,
            "object": one_of("chat.completion"),
            "created": COUNT,
            "model": TEXT,
            "choices": several(_CHOICE),
            "usage": _USAGE,
        }
    ),
    "OpenRouterCompletion": exactly(
        {
            "id": TEXT,
            "object": one_of("chat.completion"),
            "created": COUNT,
            "model": TEXT,
            "provider": about("its display name", TEXT),
            "system_fingerprint": maybe(TEXT),
            "choices": several(
                {"allOf": [_CHOICE, record({"native_finish_reason": maybe(TEXT), "message": record({"refusal": ANY})})]}
            ),
            "usage": {"allOf": [_USAGE, record({"cost": NUMBER, "is_byok": FLAG, "cost_details": OBJECT})]},
        },
        {"openrouter_metadata": OBJECT},
    ),
    "TextCompletion": record(
        {
            "id": TEXT,
            "object": one_of("text_completion"),
            "created": COUNT,
            "model": TEXT,
            "choices": several(record({"text": TEXT, "index": COUNT, "finish_reason": maybe(TEXT)})),
            "usage": _USAGE,
        }
    ),
    "Response": record(
        {
            "id": TEXT,
            "object": one_of("response"),
            "created_at": COUNT,
            "status": one_of("completed", "incomplete"),
            "model": TEXT,
            "output": several(
                record({"type": one_of("reasoning", "message", "function_call", "custom_tool_call"), "id": TEXT})
            ),
            "usage": maybe(record({"input_tokens": COUNT, "output_tokens": COUNT, "total_tokens": COUNT})),
            "store": about("whether it is kept", FLAG),
        }
    ),
    "ResponseItems": exactly(
        {
            "object": one_of("list"),
            "data": several(record({"type": TEXT, "id": TEXT})),
            "first_id": TEXT,
            "last_id": TEXT,
            "has_more": FLAG,
        }
    ),
    "ForgottenResponse": exactly({"id": TEXT, "object": one_of("response"), "deleted": {"const": True}}),
    "Message": record(
        {
            "id": TEXT,
            "type": one_of("message"),
            "role": one_of("assistant"),
            "model": TEXT,
            "content": several(record({"type": one_of("thinking", "text", "tool_use")})),
            "stop_reason": maybe(TEXT),
            "stop_sequence": maybe(TEXT),
            "usage": record({"input_tokens": COUNT, "output_tokens": COUNT, "cache_read_input_tokens": COUNT}),
        }
    ),
    "TokenCount": exactly({"input_tokens": COUNT}),
    "Plan": exactly(
        {
            "model": TEXT,
            "policy": TEXT,
            "prompt_tokens": COUNT,
            "expected_output_tokens": COUNT,
            "expected_rereads": NUMBER,
            "picked_by": TEXT,
            "relaxed": maybe(TEXT),
            "ranked": several(record({"endpoint": TEXT, "expected_usd": NUMBER, "expected_s": NUMBER})),
            "dropped": several(exactly({"endpoint": TEXT, "rule": TEXT, "detail": TEXT})),
        }
    ),
}

_OPENAI_MODEL = exactly(
    {
        "id": TEXT,
        "object": one_of("model"),
        "created": COUNT,
        "owned_by": TEXT,
        "name": TEXT,
        "context_length": COUNT,
    }
)
_ANTHROPIC_MODEL = exactly(
    {
        "type": one_of("model"),
        "id": TEXT,
        "display_name": TEXT,
        "created_at": MOMENT,
        "lifecycle": one_of("active"),
        "max_input_tokens": COUNT,
    }
)
_RATES = {"prompt": PRICE, "completion": PRICE}
_CACHED = {"input_cache_read": PRICE}
_ARCHITECTURE = exactly(
    {
        "modality": TEXT,
        "input_modalities": several(TEXT),
        "output_modalities": several(TEXT),
        "tokenizer": TEXT,
        "instruct_type": NULL,
    }
)
_MODELS: dict[str, Schema] = {
    "OpenAIModels": exactly({"object": one_of("list"), "data": several(_OPENAI_MODEL)}),
    "OpenAIModel": _OPENAI_MODEL,
    "AnthropicModels": exactly(
        {
            "data": several(_ANTHROPIC_MODEL),
            "has_more": {"const": False},
            "first_id": maybe(TEXT),
            "last_id": maybe(TEXT),
        }
    ),
    "AnthropicModel": _ANTHROPIC_MODEL,
    "Pricing": exactly(
        _RATES,
        {
            **_CACHED,
            "input_cache_write": PRICE,
            "discount": NUMBER,
            "overrides": several(
                exactly(_RATES, {**_CACHED, "min_prompt_tokens": COUNT, "utc_start": COUNT, "utc_end": COUNT})
            ),
        },
    ),
    "Percentiles": exactly(of_each(_PERCENTILES, NUMBER)),
    "Model": exactly(
        {
            **of_each(("id", "canonical_slug", "name"), TEXT),
            "created": COUNT,
            "context_length": COUNT,
            "architecture": _ARCHITECTURE,
            "pricing": named("Pricing"),
            "top_provider": exactly(
                {
                    "context_length": maybe(COUNT),
                    "max_completion_tokens": maybe(COUNT),
                    "is_moderated": {"const": False},
                }
            ),
            "supported_parameters": several(TEXT),
            **of_each(("per_request_limits", "default_parameters", "supported_voices"), NULL),
            "links": exactly({"details": TEXT}),
        },
        {"reasoning": exactly(of_each(("mandatory", "default_enabled"), FLAG))},
    ),
    "Endpoint": exactly(
        {
            **of_each(("name", "model_id", "model_name", "provider_name", "tag", "quantization"), TEXT),
            "context_length": COUNT,
            **of_each(("max_prompt_tokens", "max_completion_tokens"), maybe(COUNT)),
            "pricing": named("Pricing"),
            "supported_parameters": several(TEXT),
            **of_each(("supports_implicit_caching", "supports_diarization"), FLAG),
            "supports_tool_choice": exactly(of_each(("auto", "none", "required", "function"), FLAG)),
            "native_tools": exactly({}),
            "service_tier": NULL,
            "status": about("0; -5 while its breaker is open or it is rate limited", one_of(0, -5)),
            "latency_last_30m": about("milliseconds to the first token", maybe(named("Percentiles"))),
            "throughput_last_30m": about("output tokens a second", maybe(named("Percentiles"))),
            **of_each(("uptime_last_5m", "uptime_last_30m", "uptime_last_1d"), about("percent", maybe(NUMBER))),
        }
    ),
    "Models": exactly({"data": several(named("Model")), "total_count": COUNT, "links": exactly({"next": maybe(TEXT)})}),
    "ModelEndpoints": data(
        exactly(
            {
                **of_each(("id", "name", "description"), TEXT),
                "created": COUNT,
                "architecture": _ARCHITECTURE,
                "endpoints": several(named("Endpoint")),
            }
        )
    ),
    "Providers": data(
        several(
            exactly(
                {
                    **of_each(("name", "slug"), TEXT),
                    **of_each(("privacy_policy_url", "terms_of_service_url", "status_page_url"), NULL),
                    **of_each(("headquarters", "datacenters"), NULL),
                }
            )
        )
    ),
}

_ATTEMPT = exactly(
    {
        **of_each(("endpoint_id", "id", "model_permaslug", "provider_name", "outcome"), TEXT),
        "is_byok": FLAG,
        "latency": COUNT,
        "status": about("the host's, if any came", maybe(COUNT)),
        "error": maybe(TEXT),
    }
)
_UNKNOWN = (
    *("upstream_id", "cache_discount", "app_id", "moderation_latency", "native_finish_reason", "service_tier"),
    *("native_tokens_completion_images", "num_media_prompt", "num_input_audio_prompt", "num_media_completion"),
    *("num_search_results", "num_fetches", "web_search_engine", "external_user", "preset_id", "user_agent"),
    "workspace_id",
)
_TOKENS = (
    *("tokens_prompt", "tokens_completion", "native_tokens_prompt", "native_tokens_completion"),
    *("native_tokens_reasoning", "native_tokens_cached"),
)
_ACCOUNTS: dict[str, Schema] = {
    "Generation": data(
        exactly(
            {
                **of_each(("id", "model", "origin", "router", "data_region"), TEXT),
                "api_type": one_of("completions"),
                "created_at": MOMENT,
                **of_each(("total_cost", "usage", "upstream_inference_cost"), about("USD, all attempts", NUMBER)),
                **of_each(("streamed", "cancelled", "is_byok"), FLAG),
                **of_each(("provider_name", "finish_reason", "http_referer"), maybe(TEXT)),
                **of_each(("latency", "generation_time"), about("milliseconds", maybe(COUNT))),
                **of_each(_TOKENS, COUNT),
                "provider_responses": about("every attempt, in order", several(_ATTEMPT)),
                **of_each(_UNKNOWN, NULL),
            }
        )
    ),
    "Key": data(
        record(
            {
                "label": about("the tenant", TEXT),
                **of_each(("usage", "usage_daily", "usage_weekly", "usage_monthly"), about("USD", NUMBER)),
                **of_each(("limit", "limit_remaining", "limit_reset", "expires_at"), NULL),
            }
        )
    ),
    "Credits": data(exactly(of_each(("total_credits", "total_usage"), NUMBER))),
    "Activity": data(
        several(
            exactly(
                {
                    "date": {"type": "string", "format": "date"},
                    **of_each(("model", "model_permaslug", "endpoint_id", "provider_name"), TEXT),
                    **of_each(("usage", "byok_usage_inference"), NUMBER),
                    **of_each(("requests", "prompt_tokens", "cached_tokens", "completion_tokens"), COUNT),
                    "reasoning_tokens": COUNT,
                }
            )
        )
    ),
    "Count": data(exactly({"count": COUNT})),
    "EndpointList": data(several(named("Endpoint"))),
    "OneModel": data(named("Model")),
}

_OWN: dict[str, Schema] = {
    "Live": exactly({"status": one_of("ok")}),
    "Ready": exactly(
        {
            "status": one_of("ok", "draining", "no endpoint in use"),
            "endpoints": COUNT,
            "breakers_open": several(TEXT),
            "store": one_of("up", "down"),
            "policy_problems": several(TEXT),
            "degraded": about("each part that fails, and why", {"type": "object", "additionalProperties": TEXT}),
        }
    ),
    "PageData": exactly(
        {
            "at": NUMBER,
            "worker": COUNT,
            "needs_key": FLAG,
            "policies": OBJECT,
            "totals": OBJECT,
            "models": several(OBJECT),
            "exchanges": several(OBJECT),
        }
    ),
    "Document": record({"openapi": TEXT, "paths": OBJECT}),
}

SCHEMAS: dict[str, Schema] = {**_ERRORS, **_ANSWERS, **_MODELS, **_ACCOUNTS, **_OWN}
