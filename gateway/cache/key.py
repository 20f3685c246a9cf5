"""When two requests may share one answer: when nothing that could change the answer differs.

Everything in the body counts unless it is listed here as without effect; unknown fields count too, because hosts
read them. Outside the body count the tenant, the model after aliases, thinking as resolved, the wire shape, and the
policy where it constrains who may answer.
"""

import hashlib

import orjson

from gateway.types import Policy, Request

PREFIX = b"gw:cache:"
WITHOUT_EFFECT = frozenset({"stream", "stream_options", "user", "session_id", "metadata", "trace"})


def cache_key(request: Request, policy: Policy) -> bytes:
    """`gw:cache:` and 64 hexadecimal digits."""
    body = {name: value for name, value in request.body.items() if name not in WITHOUT_EFFECT}
    body["model"] = request.model
    constraints = [policy.name, policy.require, policy.pick] if policy.constrains_endpoints else None
    question = [request.tenant, request.surface, request.thinking, constraints, body]
    return PREFIX + hashlib.sha256(orjson.dumps(question, option=orjson.OPT_SORT_KEYS)).hexdigest().encode()
