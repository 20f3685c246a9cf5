"""Whether hosts have room for one more request, as far as that is known before its body is read.

    key, headers ──> every model: all endpoints full, and a queue where a request of this key would not wait ──> 503
                └──> anything else ──> read, parsed, planned: `SlotQueue` decides

The model and the policy are in the body. So a request is rejected here only if it would be shed with any of them.
Where the response cache may answer it, it is not: its headers ask for that, or a policy of a recent request did.
"""

from collections.abc import Callable, Iterable, Mapping

from gateway.intake.auth import Keys
from gateway.intake.options import CACHE_HEADERS
from gateway.policy.policies import Policies
from gateway.route.fleet import Fleet

CACHED_LATELY = 60.0  # seconds since a request whose policy caches


class HostRoom:
    """Of one configuration. `clock` is that of the fleets, in seconds; `cached_at` returns when a policy last had a
    request looked up in the response cache."""

    __slots__ = ("_cached_at", "_clock", "_fleets", "_keys", "_policies")

    def __init__(
        self,
        fleets: Iterable[Fleet],
        policies: Policies,
        keys: Keys,
        clock: Callable[[], float],
        cached_at: Callable[[], float],
    ) -> None:
        self._fleets = tuple(fleet for fleet in fleets if fleet.states)
        self._policies = policies
        self._keys = keys
        self._clock = clock
        self._cached_at = cached_at

    def __repr__(self) -> str:
        return f"<HostRoom of {len(self._fleets)} models>"

    def turns_away(self, key: bytes, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request with these headers would be shed. `key` is the digest of its key."""
        fleets = self._fleets
        for fleet in fleets:
            if not fleet.slots.size:
                return False
        now = self._clock()
        if not fleets or not CACHE_HEADERS.isdisjoint(headers) or now - self._cached_at() < CACHED_LATELY:
            return False
        if not all(policy.attempts.queue for policy in self._policies.current.values()):
            return False  # without a queue, a request may exceed `limits.concurrency`
        tenant = self._keys.tenant_of(key)
        return all(fleet.turns_away(tenant, now) for fleet in fleets)
