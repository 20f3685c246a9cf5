"""What a host's 400 means, by its text: the status alone does not tell.

    text, param ──meaning──> Meaning(fault, param, about)

    rejected    this host does not take the request; another may. `about` says what of `param` to remember
    malformed   the request itself is invalid: tool messages without a call, roles out of order. No host takes it
    account     the gateway's key or account, or the model's name at that host: not about the request

A text that matches no rule counts as a rejection of which nothing is remembered: that costs one try at another host,
while a wrong `malformed` would cost the client its answer. A permanent statement of the host (unknown field, no tools)
is about the parameter; an exceeded bound is about its size; all else is about this one value.
"""

import re
from typing import NamedTuple

from gateway.types import About, Fault

NAME_CHARS = 64  # of a code or a parameter
LONGEST_NUMBER = 12  # digits

_PROMPT = frozenset({"messages", "prompt", "input", "inputs", "contents"})  # params that may mean the prompt's length
_CONTEXT = re.compile(
    r"context.?(length|window|size|limit)|maximum context|maximum number of (input )?tokens"
    r"|max(imum)?[ _-](prompt|input|model|message|total|sequence|seq)[ _-](length|len|tokens|size)"
    r"|\b(prompt|input)( is)? too long|too many (input |prompt )?tokens|token count"
    r"|(prompt|input) tokens? (limit|length)|prompt tokens limit exceeded|range of input length|token_limit_exceeded"
    r"|(entity|payload|body|request) too large|(input|prompt) (length|tokens)[^.]{0,40}exceed|\bprompt exceed"
    r"|exceed\w* (the )?(model'?s? )?(token|context)[^.]{0,20}limit|(reduce|shorten) (the |your )?(length|prompt|input)"
    r"|longer than the (maximum )?(model|context)|tokens[^.]{0,40}exceed[^.]{0,20}\bmax|tokens per minute"
    r"|inputs?`? (tokens|must have less than)|must be at least 1, got -|超长|超过.{0,20}(长度|上下文)"
)
_FIELD_TOO_LONG = re.compile(r"string_too_long|string_above_max_length")
_CONTENT = re.compile(
    r"content.?(filter|policy|management)|moderation|flagged|data.?inspection|inappropriate content"
    r"|content exists risk|sensitive.{0,12}(content|information|words|detected)|\brefusal\b|responsible ai policy"
)
_MALFORMED = re.compile(
    r"(not|in)[ -]?valid json(?!.?(schema|mode|object))|malformed json"
    r"|(parse|decode|parsing|decoding) (the )?(request )?(body )?(as )?json\b"
    r"|json (parse|parsing|decode|decoding|syntax) ?error|unexpected end of (json|input)|eof while parsing"
    r"|jsondecodeerror|could not parse the json|trailing (comma|characters) at"
    r"|must be a response to a preceding|must be followed by tool messages|insufficient tool messages"
    r"|tool[ _](message|result|call)s?\b.{0,80}(without|no (matching|corresponding|preceding)|(must|not) follow)"
    r"|tool_call_ids?\b.{0,80}(not found|no matching|does not match|did not have|duplicate|is missing|unknown)"
    r"|duplicate.{0,20}tool_call_id|unexpected .{0,4}tool_(use_id|result)|tool_use.{0,8}ids? were found without"
    r"|number of (function|tool)[ _]?\w+ (blocks|parts|calls|responses)|expected toolresult|calls and responses"
    r"|function call turn comes immediately|roles? must alternate|conversation roles|expected last role"
    r"|(last|first|final) (message|role|turn)s?( in| of)?.{0,30}\bmust|must (start|begin|end) with an? \W?user"
    r"|messages?\b.{0,24}(must not|cannot|can't|is|are|should not)( be)? (empty|required)|at least one message"
)
_ACCOUNT = re.compile(
    r"(invalid|incorrect|missing).{0,20}api.?key|api.?key.{0,20}(invalid|missing|expired|not valid)|arrear|overdue"
    r"|insufficient.(balance|credit|funds|quota)|model.not.(exist|found|open|available)|not a valid model|good standing"
    r"|(unknown|invalid|no such|wrong) model\b|model (identifier|id|name)\b.{0,40}(invalid|unknown|incorrect)"
    r"|\bmodel\b.{0,120}\b(not exist|not found|no longer (available|supported|served)|deprecated|retired|decommis)"
    r"|\bmodel\b( \S{1,80})?( (is|was|has been))?( currently)? (not (currently )?(available|deployed|enabled|loaded)"
    r"|unavailable|disabled)"
    r"|(available|supported|allowed) in your (region|country|location|area)|location is not supported"
    r"|(account|organization|workspace|subscription)\b[^.]{0,60}"
    r"(suspend|disabled|restricted|deactivat|not (been )?activated|expired|inactive|blocked|banned)"
    r"|access denied|(do|does)(n't| not) have access|does not work with the \w+ model|unable to access( \S+)? model"
    r"|on-demand throughput|余额不足|欠费|模型不存在"
)
_NO_TOOLS = re.compile(  # the host serves this model without tools; a refused `tool_choice` is not meant
    r"enable-auto-tool-choice|tool-call-parser|--jinja"
    r"|\b(tools?|tool[ _-](use|call(s|ing)?)|function[ _-]call(s|ing)?|functions)\b[^.:'\"`]{0,20}"
    r"\b(is|are)(n't| not)( yet| currently)? (support|allow|available|enabled|implement)"
    r"|(n[o']t( yet| currently)? support|unsupported)\w* (the )?(use of )?"
    r"(tools?|functions?)\b(?![ _-]choice)(?! (with|together|and|in combination|choice)\b)"
)
_JSON_WORD = re.compile(r"\bword\b[^.]{0,12}\bjson|json\W{0,3} in (some form|the (messages|prompt))")
_ONE_CHOICE = re.compile(
    r"\bn ?= ?1\b|only (one|a single) (completion|choice|candidate)|multiple (completion|choice|candid)"
)
_UNSUPPORTED = re.compile(
    r"n[o']t (yet |currently )?(support|allow|permit|accept|implement|recogni)|unsupported|unrecogni[sz]ed"
    r"|unknown (parameter|field|argument|variant|name|role)|unexpected (field|keyword|role)|extra (inputs|fields)"
    r"|extra_forbidden|additional propert|cannot (be (set|used|combined)|use)|must not be (set|used)|invalid role"
    r"|must be passed back|missing .?reasoning_content|unavailable|not available|requires? --"
)
_WHOLE = re.compile(  # of these, those that refuse the parameter with any value
    r"(unknown|unsupported)[ _](request )?(parameter|field|argument)|unrecogni[sz]ed (request )?(param|field|arg|key)"
    r"|unexpected (field|keyword)|extra (inputs|fields)|extra_forbidden"
    r"|(parameter|field|argument)s?\b[^.]{0,40} (is|are) (not|un)[ -]?(supported|allowed|permitted|accepted)"
)
_SCHEMA = re.compile(r"schema for|keyword|propert|\$ref|\bin (the |your )?\w*_?schema\b")
_FORMAT = re.compile(r"response.?format|json_schema|json[ _]mode|json_object|structured output")
_ROLE = re.compile(r"\broles?\b|\bdeveloper\b")
_OUTPUT_LIMIT = re.compile(
    r"max_(completion_|output_|new_)?tokens|maximum tokens you requested|maxtokens|completion tokens"
)
_TOO_MUCH = re.compile(
    r"at most|no more than|up to|maximum|\bmax\b|max_|exceed|above|too (many|long|large|high|big)|less than|fewer|<"
    r"|limit|larger|greater than the|longer than"
)
_TOO_LITTLE = re.compile(
    r"at least|minimum|positive|greater than (or equal to )?-?\d|between|range|>|below|too (few|short|small|low)"
)
# Common words such as `stop`, `user` and `thinking` are left out: they occur in many sentences.
_KNOWN = re.compile(
    r"\b(tool_choice|parallel_tool_calls|tools?|functions?|top_logprobs|logprobs|logit_bias|seed|prediction|verbosity"
    r"|temperature|top_p|top_k|min_p|top_a|frequency_penalty|presence_penalty|repetition_penalty"
    r"|reasoning_content|reasoning_effort|enable_thinking|chat_template_kwargs|stream_options|service_tier"
    r"|cache_control|prompt_cache_key)\b"
)
_USER = re.compile(r"\bid of the user\b|\b(end[ _-]?)?user[ _-]?id\b")
_QUOTED = re.compile(r"[`'\"]([a-z_][a-z0-9_]*)[`'\"]|argument supplied: ([a-z_]\w*)")
_INVALID = re.compile(r"invalid (?:value for |parameter |argument )?[`'\"]([a-z_][a-z0-9_]*)[`'\"]")


_PROMPT_COUNT = re.compile(
    r"([\d,]+) (?:tokens )?(?:in|from|of) (?:the |your )?(?:input )?(?:messages|prompt|input)"
    r"|([\d,]+) `?(?:input|prompt)s?`? tokens"
    r"|context limit: ([\d,]+) \+|(?:input|prompt) \(?(?:length )?([\d,]+)(?: tokens)?\)?",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"context (?:length|window|limit|size)(?: is| of|:)?(?: only)?(?: [\d,]+ \+ [\d,]+ >)? \(?([\d,]+)"
    r"|must be <= ([\d,]+)|(?:maximum|limit) (?:of|is) ([\d,]+)",
    re.IGNORECASE,
)


class Meaning(NamedTuple):
    """The fault of a refusal, and for a rejection the rejected parameter, as far as known."""

    fault: Fault
    param: str | None = None
    about: About = "value"


def meaning(text: str, param: str | None) -> Meaning:
    """The meaning of a host's 400. `text` is in lower case, codes before the message; `param` is the host's own name
    for the part that it refuses."""
    named = top_level(param)
    if too_long(text, named):
        return Meaning(Fault.REJECTED, "context", "size")
    if _CONTENT.search(text):
        return Meaning(Fault.REJECTED, "content_filter", "request")
    if _JSON_WORD.search(text):  # the prompt does not mention JSON
        return Meaning(Fault.REJECTED, "response_format", "request")
    if _NO_TOOLS.search(text) and named == param and not _SCHEMA.search(text):
        return Meaning(Fault.REJECTED, "tools", "parameter")
    if _MALFORMED.search(text):
        return Meaning(Fault.MALFORMED, named)
    if _ACCOUNT.search(text):
        return Meaning(Fault.ACCOUNT)
    return _rejected(text, param, named)


def too_long(text: str, named: str | None = None) -> bool:
    """Whether the prompt, alone or with its answer, exceeds the host's limit."""
    if named is not None and named not in _PROMPT and not named.startswith("max_"):
        return False
    return bool(_CONTEXT.search(text) or ((named is None or named in _PROMPT) and _FIELD_TOO_LONG.search(text)))


def counted(message: str) -> tuple[int | None, int | None]:
    """The prompt tokens that a host counted, and its limit, as far as `message` states them."""
    return _number(_PROMPT_COUNT.search(message)), _number(_LIMIT.search(message))


def against_content(text: str) -> bool:
    """Whether a host refuses the content of the prompt."""
    return bool(_CONTENT.search(text))


def top_level(param: str | None) -> str | None:
    """`messages` for `messages[0].role` and for `messages.0.role`."""
    return re.split(r"[.\[]", param, maxsplit=1)[0][:NAME_CHARS] if param else None


def _rejected(text: str, param: str | None, named: str | None) -> Meaning:
    if _ONE_CHOICE.search(text):
        return Meaning(Fault.REJECTED, "n", "size")
    if _FORMAT.search(text) and named in (None, "response_format"):
        lacks = named == param and _UNSUPPORTED.search(text) and not _SCHEMA.search(text)
        return Meaning(Fault.REJECTED, "response_format", "parameter" if lacks else "value")
    if _OUTPUT_LIMIT.search(text) and (named is None or named.startswith("max_")):
        return Meaning(Fault.REJECTED, "max_tokens", "value" if "at least" in text else "size")
    if _UNSUPPORTED.search(text):
        found = _subject(text, param) or _quoted(_QUOTED, text)
        whole = named == param and _WHOLE.search(text) and not _SCHEMA.search(text)
        return Meaning(Fault.REJECTED, found, "parameter" if whole else "value")
    found = _subject(text, param) or _quoted(_INVALID, text) or ("user" if _USER.search(text) else None)
    return Meaning(Fault.REJECTED, found, _bound(text))


def _bound(text: str) -> About:
    """What a refusal that matches no rule is about: a bound that it names, or nothing to remember."""
    little = _TOO_LITTLE.search(text)
    if _TOO_MUCH.search(text) and not little:
        return "size"
    return "value" if little else "request"


def _subject(text: str, param: str | None) -> str | None:
    """The parameter that a rejection is about: the host's own name for it, else the first known one in its message."""
    named = top_level(param)
    if named not in (None, "messages"):
        return named
    if _ROLE.search(f"{param} {text}"):
        return "role"
    if named:
        return named
    if known := _KNOWN.search(text):
        return "tools" if known[1] in ("tool", "function", "functions") else known[1]
    return None


def _number(found: re.Match[str] | None) -> int | None:
    digits = next((group for group in found.groups() if group), "").replace(",", "") if found else ""
    return int(digits) if 0 < len(digits) <= LONGEST_NUMBER else None


def _quoted(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return next(name for name in found.groups() if name)[:NAME_CHARS] if found else None
