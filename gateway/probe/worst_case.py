"""The most that a request can cost, so that it is reserved before the request is sent.

A token of a byte-level tokenizer has at least one byte; plain words have more than two. The host's template adds tokens
of its own. What a host bills in excess of `max_tokens` cannot be known before; it is counted afterwards.
"""

from math import ceil

from gateway.types import PICO, Price

BYTES_PER_TOKEN = 2  # at least, in the text and the JSON of probes
TEMPLATE = 1_000  # tokens that a host's template adds at most
_PER_MILLION = PICO // 1_000_000  # 1e-12 USD per token, of 1 USD per 1M tokens


def worst_case(price: Price, size: int, max_tokens: int) -> int:
    """In 1e-12 USD: of a body of `size` bytes whose answer has at most `max_tokens`."""
    prompt = size // BYTES_PER_TOKEN + TEMPLATE
    rates = [(price.input, price.cached_input, price.output)]
    rates += [(one.input, one.cached_input, one.output) for one in price.tiers]
    rates += [(one.input, one.cached_input, one.output) for one in price.hours]
    dearest = max(price.cache_write or 0.0, *(max(fresh, cached or 0.0) for fresh, cached, _ in rates))
    output = max(rate[2] for rate in rates)
    return ceil((prompt * dearest + max_tokens * output) * _PER_MILLION)
