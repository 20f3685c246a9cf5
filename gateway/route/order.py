"""The place that a policy gives an endpoint before any score: for those who know what they want first."""

from gateway.route.endpoint_state import EndpointState
from gateway.route.waits import MIDDLES, scale
from gateway.types import Pick


def rank(state: EndpointState, pick: Pick) -> float:
    """The lower, the sooner: place in a list, seconds, or minus tokens per second; 0 where the score decides."""
    if pick.how == "order":
        endpoint = state.endpoint
        named = (place for place, name in enumerate(pick.order) if name in (endpoint.id, endpoint.provider))
        return next(named, len(pick.order))
    if pick.how == "latency":
        return state.waits.p50[0] * scale(MIDDLES[0])
    return -state.speeds.p50 if pick.how == "throughput" else 0.0
