"""Why an attempt failed, and what follows from it everywhere: breaker, retries, status, success rate, words.

Fault.SERVER.blamed     the breaker counts it
Fault.SERVER.status     502: what a client gets where the host sent no error status
Fault.SERVER == "server"        its name in the ledger, in metrics and in errors
"""

from enum import StrEnum
from typing import NamedTuple, Self


class _Traits(NamedTuple):
    """The answers of one fault, as the members below give them. `Fault` says what they mean."""

    words: str
    status: int = 502
    blamed: bool = True
    of_request: bool = False
    of_account: bool = False
    is_timeout: bool = False
    missed_deadline: bool = False
    transient: bool = False
    passes_soon: bool = False
    unavailable: bool = False
    cheap_to_probe: bool = False


class Fault(StrEnum):
    """How an attempt failed.

    words            what happened, in the plural, for people
    status           HTTP status for the client, where the host sent no error status
    blamed           counts against the endpoint's health; `empty` only where another endpoint had an answer
    of_request       the request was refused for what it is: no other one is concerned
    counts           in a success rate; all but those of the request
    delays_endpoint  its `Retry-After` holds for all requests to the endpoint (that of a 429 is the rate limit's)
    is_timeout       a clock of the gateway ended the attempt: the host may go on with it, and bill it
    missed_deadline  such a clock, and no answer had come: the wait for one is longer than that
    transient        the same endpoint may answer a moment later
    passes_soon      so soon that it may be worth a pause while other endpoints are left
    unavailable      no host took the request: a client gets 503 where all attempts ended so
    cheap_to_probe   it comes at once, as a status: a half-open breaker may look for its end often
    """

    MALFORMED = (  # the request is wrong, for every host
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
    SERVER = (  # 5xx and their kin
        "server",
        _Traits("server errors", transient=True, passes_soon=True, unavailable=True, cheap_to_probe=True),
    )
    REFUSED = (  # no connection: refused, unresolved, TLS handshake failed, connect timeout
        "refused",
        _Traits("refused connections", transient=True, unavailable=True),
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
    CUT = (  # the connection closed before the answer's end
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
    UNCLEAN = (  # ended without a finish reason, or with one that is not an end
        "unclean",
        _Traits("answers without a proper end"),
    )
    EMPTY = (  # stop without any content, where there should be some
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
        self.counts = not traits.of_request
        self.delays_endpoint = traits.blamed or traits.of_account
        self.is_timeout = traits.is_timeout
        self.missed_deadline = traits.missed_deadline
        self.transient = traits.transient
        self.passes_soon = traits.passes_soon
        self.unavailable = traits.unavailable
        self.cheap_to_probe = traits.cheap_to_probe


FAULTS = {fault.value: fault for fault in Fault}  # by name, for what has been written and is read again
