"""A probe as a request: one endpoint, one attempt, no cache, and a tenant of its own.

The tenant keeps probes apart from clients: their tokens and dollars are in the ledger and in the endpoint's metrics,
and not in those of exchanges.
"""

from functools import lru_cache

import orjson

from gateway.intake.body import capabilities, read_body
from gateway.intake.intake import new_id
from gateway.probe.canaries import BYTES_PER_TOKEN
from gateway.probe.canary_question import Json
from gateway.types import PROBE, Attempts, Endpoint, Model, Pick, Policy, Request, Score, Timeouts
from gateway.upstream.dialects import thinking_requested

UNSURE = 0.5  # of the estimated prompt tokens: a probe is never dropped because of an estimate
_ATTEMPTS = Attempts(max=1, within=60.0, retries=0)  # the only attempt has all of `within` for its first token
_TIMEOUTS = Timeouts(total=120.0, stream=120.0)


@lru_cache(1024)
def pinned_policy(endpoint: str) -> Policy:
    """The same object each time: what the fleet prepares for a policy is kept by the object."""
    return Policy(
        name=PROBE,
        score=Score(value_of_time=0.0),
        pick=Pick(how="fixed", explore=0.0, endpoint=endpoint),
        affinity="none",
        attempts=_ATTEMPTS,
        timeouts=_TIMEOUTS,
    )


def probe_request(body: Json, model: Model, now: float) -> Request:
    """`body` as a request for `model`; `now` in unix time."""
    parsed = read_body(orjson.dumps({**body, "model": model.id}), None)
    prompt, requested = parsed.prompt, thinking_requested(parsed.json)
    return Request(
        new_id(int(now)),
        parsed.json,
        model.id,
        PROBE,
        PROBE,
        PROBE,
        stream=bool(body.get("stream")),
        thinking=model.reasoning.default_enabled if requested is None else requested,
        max_tokens=body["max_tokens"],
        prompt_tokens=prompt.size // BYTES_PER_TOKEN,
        prompt_size=prompt.size,
        doubt=UNSURE,
        opening=prompt.opening // BYTES_PER_TOKEN,
        needs=capabilities(parsed),
        cache="no-store",
        raw=parsed.raw,
        created=int(now),
        reasoning_history=model.reasoning.history,
    )


def worth_probing(endpoint: Endpoint) -> bool:
    """Whether it has a price: what costs nothing on paper cannot be kept within a budget."""
    price = endpoint.price
    return price is not None and bool(price.input or price.output)
