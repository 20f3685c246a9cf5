"""Ledger rows for tests: a good streamed answer, and how it differs."""

from itertools import count
from typing import Any

from gateway.types import Row

_numbers = count(1)


def row(**changes: Any) -> Row:
    """A streamed exchange that one attempt answered: 1,000 prompt tokens (400 cached), 101 output tokens in 2 s."""
    exchange = f"gen-{next(_numbers)}"
    good: dict[str, Any] = {
        "id": f"{exchange}-1",
        "exchange": exchange,
        "at": 1_763_764_498.0,
        "tenant": "team",
        "app": "",
        "model": "deepseek/deepseek-v3.2",
        "policy": "balanced",
        "stream": True,
        "endpoint": "novita/fp8",
        "provider": "novita",
        "attempt": 1,
        "outcome": "ok",
        "status": 200,
        "finish_reason": "stop",
        "ttft": 0.5,
        "duration": 2.0,
        "prompt_tokens": 1000,
        "cached_tokens": 400,
        "completion_tokens": 101,
        "reasoning_tokens": 20,
        "usage_source": "host",
        "cost": 250_000_000,
        "throughput": 66.7,
        "prompt_cost": 180_000_000,
        "saved": 90_000_000,
        "predicted_usd": 200_000_000,
        "predicted_s": 4.0,
        "last": True,
        "client_status": 200,
        "client_ttft": 0.6,
        "client_duration": 2.6,
        "overhead": 0.0003,
    }
    return Row(**(good | changes))


def cached_row(**changes: Any) -> Row:
    """An exchange answered from the response cache."""
    nothing = {"endpoint": "", "provider": "", "attempt": 0, "outcome": "cached", "status": 0, "ttft": None, "cost": 0}
    nothing |= {"throughput": None, "prompt_cost": 0}
    return row(
        **(nothing | {"duration": 0.0, "client_ttft": 0.001, "client_duration": 0.002, "cache": "hit"} | changes)
    )
