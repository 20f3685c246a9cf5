"""The place that a policy gives an endpoint before any score: for those who know what they want first."""

from gateway.route.endpoint import EndpointState
from gateway.types import Pick


def rank(state: EndpointState, pick: Pick) -> float:
    """The lower, the sooner: place in a list, seconds, or minus tokens per second; 0 where the score decides."""
    if pick.how == "order":
        endpoint = state.endpoint
        named = (place for place, name in enumerate(pick.order) if name in (endpoint.id, endpoint.provider))
        return next(named, len(pick.order))
    if pick.how == "latency":
        return state.ttft_p50[0]
    return -state.speed_p50 if pick.how == "throughput" else 0.0
