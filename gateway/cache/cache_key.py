"""The key of the response cache: two requests share an answer when nothing that could change it differs.

Every field of the body counts, unknown ones included, because hosts read them, except those listed here. Outside the
body these count: the tenant, the model after aliases, thinking as resolved, the surface, and the policy where it
constrains the endpoints.
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
    parts = [request.tenant, request.surface, request.thinking, constraints, body]
    return PREFIX + hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest().encode()
