"""A host's words about a failure, as far as a log or a page without a key may show them.

A host may quote anything in its message: the prompt, a key, an account. So a word is shown only if it is one of the
ordinary words of such messages (`_WORDS`), and a number only in front of a unit; everything else becomes "…". Messages
about the request itself, or about the account, are not shown at all.
"""

import re

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
_WORDS = frozenset(_ORDINARY.split())
_PARTS = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|seconds?|minutes?|requests?|tokens?|%)(?![\w])|([A-Za-z']+)|([^\sA-Za-z]+|\S)"
)
_PUNCTUATION = frozenset(".,;:!?")


def said(outcome: str, message: str) -> str | None:
    """What may be shown of `message`, the host's words about an attempt that ended so; None where that is nothing."""
    fault = FAULTS.get(outcome)
    if fault is None or fault.of_request or fault is Fault.ACCOUNT or not message:
        return None
    text = _with_gaps(message)
    if not any(part.isalpha() for part in text.split()):
        return None
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + GAP


def _with_gaps(message: str) -> str:
    """The message with a gap for all that is not ordinary."""
    shown: list[str] = []
    for number, unit, word, other in _PARTS.findall(message):
        if number:
            shown.append(f" {number} {unit}")
        elif word.lower() in _WORDS:
            shown.append(f" {word}")
        elif other in _PUNCTUATION and shown:
            shown.append(other)
        elif not shown or not shown[-1].endswith(GAP):
            shown.append(f" {GAP}")
    return "".join(shown).strip()
