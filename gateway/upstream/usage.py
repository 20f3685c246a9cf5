"""Tokens and money: how hosts report usage, what it costs, and how clients see it.

    host's `usage` ──read_usage──> Usage ──bill(price, hour)──> 1e-12 USD
    no `usage` ──billed_share──> an estimate ┘ └──usage_object(cost)──> the client's `usage`

Hosts agree only on `prompt_tokens` and `completion_tokens`. Cached tokens have three names, reasoning tokens two, and
any of them may be null, absent or of another type.
"""

from collections.abc import Mapping
from typing import Any

from gateway.types import PICO, Price, Usage
from gateway.types.endpoint import Cancel
from gateway.upstream.answer_types import UsageCounts, read_counts

# Share of the prompt that hosts bill when an answer is cancelled before its first token: 0 where they stop work, 1
# where they do not. Of six hosts whose behaviour was unknown one billed: (1 + 1) / (6 + 2).
CANCELLED: Mapping[Cancel, float] = {"stops": 0.0, "unknown": 0.25, "bills": 1.0}
LOST = CANCELLED["unknown"]  # the same when the host closes the connection some time after it had the request
NO_USAGE = Usage()
_PICO_PER_TOKEN = 1_000_000  # one USD per 1M tokens is 1e6 x 1e-12 USD per token


def read_usage(usage: object) -> Usage:
    """The tokens in a host's `usage` object; `source` is "none" without counts.

    Always 0 <= cached <= prompt and 0 <= reasoning <= completion, for any input.
    """
    return usage_of(read_counts(usage)) if isinstance(usage, dict) else NO_USAGE


def usage_of(counts: UsageCounts) -> Usage:
    """The same as `read_usage`, of the counts that were read."""
    prompt, completion = counts.prompt_tokens, counts.completion_tokens
    if prompt is None and completion is None:
        return NO_USAGE
    prompt, completion = prompt or 0, completion or 0
    cached, reasoning = counts.cached_tokens or 0, counts.reasoning_tokens or 0
    # Hosts that fill one of several names, or the details, leave the others at 0 or null: the largest count is taken.
    if (hit := counts.prompt_cache_hit_tokens) is not None and hit > cached:
        cached = hit
    if (parts := counts.prompt_tokens_details) is not None and (parts.cached_tokens or 0) > cached:
        cached = parts.cached_tokens or 0
    if (rest := counts.completion_tokens_details) is not None and (rest.reasoning_tokens or 0) > reasoning:
        reasoning = rest.reasoning_tokens or 0
    cached = prompt if cached > prompt else cached
    return Usage(prompt, cached, completion, completion if reasoning > completion else reasoning, "host")


def billed_share(habit: Cancel, streams: bool, cut_off: bool) -> float:
    """The share of its prompt that a host will bill for a request without a received token.

    `cut_off`: the gateway ended the attempt, else the host did. Without `streams` a first token would have been
    invisible: the whole prompt counts.
    """
    if not cut_off:
        return max(LOST, CANCELLED[habit])
    return CANCELLED[habit] if streams else 1.0


def cost(usage: Usage, price: Price, hour: int) -> int:
    """List price of `usage` in 1e-12 USD, exact, for a request sent in this hour (0-23, UTC)."""
    return bill(usage, price, hour)[0]


def bill(usage: Usage, price: Price, hour: int) -> tuple[int, int, int]:
    """The same with its parts: all, the prompt, and what the prompt would have cost more without a cache hit."""
    fresh_rate, cached_rate, output_rate = price.rates(usage.prompt, hour)
    fresh = round(fresh_rate * _PICO_PER_TOKEN)
    saved = usage.cached * (fresh - round(cached_rate * _PICO_PER_TOKEN))
    prompt = usage.prompt * fresh - saved
    return prompt + usage.completion * round(output_rate * _PICO_PER_TOKEN), prompt, saved


def usage_object(usage: Usage, cost: int) -> dict[str, Any]:
    """The `usage` for clients: OpenAI's fields, OpenRouter's `cost` in USD, DeepSeek's cache hits and misses."""
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
