"""The kinds of failure of an attempt, with all their consequences: breaker, retries, status, success rate, messages.

Fault.SERVER.blamed     counted by the breaker
Fault.SERVER.status     502: for the client, unless the host sent an error status
Fault.SERVER == "server"        its name in the ledger, in metrics and in errors
"""

from enum import StrEnum
from typing import NamedTuple, Self


class _Traits(NamedTuple):
    """The traits of one fault; `Fault` documents them."""

    words: str
    status: int = 502
    blamed: bool = True
    of_request: bool = False
    counts: bool = True
    of_account: bool = False
    is_timeout: bool = False
    missed_deadline: bool = False
    transient: bool = False
    passes_soon: bool = False
    unavailable: bool = False
    cheap_to_probe: bool = False


class Fault(StrEnum):
    """The kind of a failure.

    words            the failures in the plural, for messages
    status           HTTP status for the client, unless the host sent an error status
    blamed           counts against the endpoint's health; `empty` only if another endpoint had an answer
    of_request       the request itself was rejected: says nothing about other requests
    counts           is part of the endpoint's success rate: all except `of_request` and a proxy's failures
    delays_endpoint  its `Retry-After` holds for all requests to the endpoint (for a 429, the rate limit handles it)
    is_timeout       a timeout of the gateway ended the attempt: the host may continue it, and bill it
    missed_deadline  a timeout before the answer: the true wait is longer (right-censored)
    transient        a retry at the same endpoint may succeed
    passes_soon      so soon that a short backoff may be worth it even while other endpoints are left
    unavailable      the host did not accept the request: the client gets 503 if all attempts ended so
    cheap_to_probe   fails at once, with a status: a half-open breaker may probe often
    """

    MALFORMED = (  # the request is invalid at every host
        "malformed",
        _Traits("malformed requests", status=400, blamed=False, of_request=True),
    )
    REJECTED = (  # this host does not take this request: context, parameter, role, content filter
        "rejected",
        _Traits("rejected requests", status=400, blamed=False, of_request=True),
    )
    ACCOUNT = (  # 401, 402, 403, 404: the credential or the endpoint, not the request
        "account",
        _Traits("a refused account", blamed=False, of_account=True),
    )
    RATE_LIMITED = (  # 429
        "rate_limited",
        _Traits("rate limits", status=429, blamed=False, transient=True, unavailable=True),
    )
    SERVER = (  # 5xx and similar
        "server",
        _Traits("server errors", transient=True, passes_soon=True, unavailable=True, cheap_to_probe=True),
    )
    REFUSED = (  # no connection: refused, unresolved, TLS handshake failed, connect timeout
        "refused",
        _Traits("refused connections", transient=True, unavailable=True),
    )
    PROXY = (  # the proxy on the way to the host failed: nothing is known about the host
        "proxy",
        _Traits("failures of a proxy", transient=True, unavailable=True, counts=False),
    )
    TIMEOUT_FIRST_TOKEN = (
        "timeout_first_token",
        _Traits("first tokens that did not come in time", status=504, is_timeout=True, missed_deadline=True),
    )
    TIMEOUT_GAP = (
        "timeout_gap",
        _Traits("answers that stopped", status=504, is_timeout=True),
    )
    TIMEOUT_TOTAL = (
        "timeout_total",
        _Traits("answers that did not come in time", status=504, is_timeout=True, missed_deadline=True),
    )
    CUT = (  # the connection closed before the end of the answer
        "cut",
        _Traits("answers that broke off", transient=True, passes_soon=True),
    )
    GARBAGE = (  # not HTTP, not SSE, not JSON
        "garbage",
        _Traits("answers that cannot be read"),
    )
    IN_BAND = (  # an error inside a 200
        "in_band",
        _Traits("errors inside answers", transient=True),
    )
    UNCLEAN = (  # no finish reason, or one that is not a regular end
        "unclean",
        _Traits("answers without a proper end"),
    )
    EMPTY = (  # finish reason stop, without content where some is expected
        "empty",
        _Traits("empty answers"),
    )

    def __new__(cls, name: str, _: _Traits) -> Self:
        fault = str.__new__(cls, name)
        fault._value_ = name
        return fault

    def __init__(self, _: str, traits: _Traits) -> None:
        self.words = traits.words
        self.status = traits.status
        self.blamed = traits.blamed
        self.of_request = traits.of_request
        self.counts = traits.counts and not traits.of_request
        self.delays_endpoint = traits.blamed or traits.of_account
        self.is_timeout = traits.is_timeout
        self.missed_deadline = traits.missed_deadline
        self.transient = traits.transient
        self.passes_soon = traits.passes_soon
        self.unavailable = traits.unavailable
        self.cheap_to_probe = traits.cheap_to_probe


FAULTS = {fault.value: fault for fault in Fault}  # by name, for rows read back
