"""A host's words about a failure, as far as a log or a page without a key may show them.

A host may quote anything in its message: the prompt, a key, an account. So a word is shown only if it is one of the
ordinary words of such messages (`_WORDS`), and a number only with a unit; everything else becomes "…". Messages
about the request itself, or about the account, are not shown at all.
"""

import re
from itertools import zip_longest

from gateway.types import FAULTS, Fault

LONGEST = 120  # characters
GAP = "…"
_ORDINARY = """
a about abort aborted after again all allowed already an and another answer any are as at available back backend bad
balancer be because been before being broke broken busy but by came can cannot capacity client closed cluster code
complete completed completion concurrency concurrent connect connection connections context could crashed cuda
current currently cut deadline delayed demand did disabled disconnected does done down draining due during early
empty end ended engine enough error errors event exceeded exceeds exception exhausted expired failed failure few
fetch finish first for free from full gateway gave generation generate generated given gone gpu had handle has have
heavy high higher host however http if in inference instance instances interrupted internal into invalid is issue
it its itself json large last later less limit limited limits line load loaded loading long longer lost machine made
maintenance many max maximum may memory message middle minute minutes model models moment more most much must
network new no node none not now number of off on one only open operation or other our out over overload
overloaded page parse partial per please pool problem process processing proxy queue queued quota rate rates reached
read ready reason received refused request requests reset resolved resource resources response restarting retry
retries returned running schedule scheduled scheduler second seconds server servers service shutting shutdown
since slow some something soon started starting status still stopped stream streaming support temporarily
temporary that the their then there they this throttled time timed timeout to token tokens too traffic try trying
unable unavailable under unexpected unknown until up upstream us usage use used valid very wait waiting was
we were what when which while will with within without worker workers wrong yet you your
"""
_UNITS = frozenset(["ms", "s", "second", "seconds", "minute", "minutes", "request", "requests", "token", "tokens", "%"])
_WORDS = _UNITS.union(_ORDINARY.split())
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(ms|s|%)")
_AROUND = ".,;:!?()[]{}'\"`"  # what may stand around a word
_BEHIND = ".,;:!?"


def said(outcome: str, message: str) -> str | None:
    """What may be shown of `message`, the host's words about an attempt that ended so; None where that is nothing."""
    fault = FAULTS.get(outcome)
    if fault is None or fault.of_request or fault is Fault.ACCOUNT or not message:
        return None
    text = message if fault is Fault.PROXY else _with_gaps(message)  # the gateway's own words
    if text in ("", GAP):
        return None
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + GAP


def _with_gaps(message: str) -> str:
    """The message with a gap for all that is not ordinary."""
    shown: list[str] = []
    given = message.split()
    for token, following in zip_longest(given, given[1:], fillvalue=""):
        word = token.strip(_AROUND)
        if _is_ordinary(word, following.strip(_AROUND)):
            shown.append(word + token[-1] if token[-1] in _BEHIND else word)
        elif not shown or shown[-1] != GAP:
            shown.append(GAP)
    return " ".join(shown)


def _is_ordinary(word: str, following: str) -> bool:
    if _NUMBER.fullmatch(word):
        return following.lower() in _UNITS
    return bool(_QUANTITY.fullmatch(word)) or all(part.lower() in _WORDS for part in word.split("-"))
