"""How much of its limits a request may use, estimated before it is sent.

cost      the prompt at its full price, and the longest answer that the client allows; without `max_tokens` the
          longest usual one, so that a budget is hardly ever exceeded
tokens    the prompt and the usual length of an answer: what they really were counts in the end
"""

from gateway.keys.need import Need
from gateway.route.plan import Plan
from gateway.types import Endpoint, Request, most_output

_NANO_PER_TOKEN = 1_000  # one USD per 1M tokens is 1e3 x 1e-9 USD per token


def likely_use(request: Request, plan: Plan, endpoint: Endpoint) -> Need:
    """At the endpoint that is tried first, at its list price."""
    demand, prompt = plan.demand, request.prompt_tokens
    choices = request.body.get("n") or 1
    tokens = prompt + choices * round(demand.output_tokens)
    if not endpoint.price:
        return Need(1, tokens, 0)
    fresh, _, output = endpoint.price.rates(prompt, demand.hour)
    longest = most_output(endpoint, request) or demand.longest_output
    if endpoint.max_output:
        longest = min(longest, endpoint.max_output)
    return Need(
        1, tokens, round(_NANO_PER_TOKEN * (prompt * (1 + request.doubt) * fresh + choices * longest * output)) + 1
    )
