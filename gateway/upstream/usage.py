"""Tokens and money: how hosts report them, what they cost, and how clients see them.

    host's `usage` ──read_usage──> Usage ──cost(price, hour)──> 1e-12 USD
    no `usage` ──billed_share──> an estimate ┘ └──usage_object(cost)──> the client's `usage`

Hosts agree on `prompt_tokens` and `completion_tokens` only. Cached tokens have three names, reasoning tokens two, and
any of them may be null, absent or of another type.
"""

from collections.abc import Mapping
from typing import Any

from gateway.types import PICO, Price, Usage
from gateway.types.endpoint import Cancel
from gateway.upstream.answer_types import UsageCounts, read_counts

# Of a prompt whose answer is cancelled before its first token hosts bill this share: those that stop work bill nothing,
# those that do not bill it all, and of six whose habit was unknown one did: (1 + 1) / (6 + 2).
CANCELLED: Mapping[Cancel, float] = {"stops": 0.0, "unknown": 0.25, "bills": 1.0}
LOST = CANCELLED["unknown"]  # the same where it was the host that left, after it had the request for a while
NO_USAGE = Usage()
_PICO_PER_TOKEN = 1_000_000  # one USD per 1M tokens is 1e6 x 1e-12 USD per token


def read_usage(usage: object) -> Usage:
    """The tokens in a host's `usage` object; `source` is "none" when it counts nothing.

    Always 0 <= cached <= prompt and 0 <= reasoning <= completion, whatever the host says.
    """
    if not isinstance(usage, dict):
        return NO_USAGE
    counts = read_counts(usage)
    prompt, completion = counts.prompt_tokens, counts.completion_tokens
    if prompt is None and completion is None:
        return NO_USAGE
    prompt, completion = prompt or 0, completion or 0
    cached, reasoning = _largest_counts(counts)
    cached = prompt if cached > prompt else cached
    return Usage(prompt, cached, completion, completion if reasoning > completion else reasoning, "host")


def billed_share(habit: Cancel, streams: bool, cut_off: bool) -> float:
    """How much of its prompt a host will bill for a request that it had, and answered with no token that was seen.

    `cut_off`: this side ended it, else the host did. Without `streams` its first token would not have been seen: all of
    the prompt counts.
    """
    if not cut_off:
        return max(LOST, CANCELLED[habit])
    return CANCELLED[habit] if streams else 1.0


def cost(usage: Usage, price: Price, hour: int) -> int:
    """List price of `usage` in 1e-12 USD, exact, for a request sent in this hour (0-23, UTC)."""
    fresh_rate, cached_rate, output_rate = price.rates(usage.prompt, hour)
    return (
        (usage.prompt - usage.cached) * round(fresh_rate * _PICO_PER_TOKEN)
        + usage.cached * round(cached_rate * _PICO_PER_TOKEN)
        + usage.completion * round(output_rate * _PICO_PER_TOKEN)
    )


def usage_object(usage: Usage, cost: int) -> dict[str, Any]:
    """The `usage` that clients get: OpenAI's fields, OpenRouter's `cost` in USD, DeepSeek's cache hits and misses."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "cost": cost / PICO,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        "prompt_cache_hit_tokens": usage.cached,
        "prompt_cache_miss_tokens": usage.prompt - usage.cached,
    }


def _largest_counts(counts: UsageCounts) -> tuple[int, int]:
    """Cached and reasoning tokens. Hosts that fill one of several names, or the details, leave the others at 0 or
    null."""
    cached, reasoning = counts.cached_tokens or 0, counts.reasoning_tokens or 0
    if (hit := counts.prompt_cache_hit_tokens) is not None and hit > cached:
        cached = hit
    if (parts := counts.prompt_tokens_details) is not None and (parts.cached_tokens or 0) > cached:
        cached = parts.cached_tokens or 0
    if (rest := counts.completion_tokens_details) is not None and (rest.reasoning_tokens or 0) > reasoning:
        reasoning = rest.reasoning_tokens or 0
    return cached, reasoning
