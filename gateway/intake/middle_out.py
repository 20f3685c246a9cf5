"""Middle-out compression: a prompt that fits no endpoint is shortened in its middle, if the client requests it.

    system │ first user │ ... │ ... │ ... │ last user │ last message        kept if they fit
                          ╰── dropped from the middle outwards ──╯          a tool call is dropped with its results

If that is not enough, the middle of the longest remaining texts is cut. A prompt that fits is never
changed, because that would lose its prompt-cache hits.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.intake.prefix import known_by
from gateway.intake.prompt import message_size, read_prompt
from gateway.route.filters import incapable, room, violates_policy
from gateway.route.fleet import Fleet
from gateway.types import Policy, Request

SPARE = 0.05  # share of the context left free, because tokens are estimated
LEAST = 200  # bytes that a shortened text keeps at least
MARK = " [...] "  # in place of the removed text
_INSTRUCTIONS = frozenset({"system", "developer"})
Json = dict[str, Any]


def compressed(request: Request, policy: Policy, fleet: Fleet, salt: str = "") -> Request:
    """The request, shortened if its prompt is too long for every endpoint that could serve it, and shortening helps.
    `salt` as in `Serving`."""
    rooms = [
        room(state.endpoint, request)
        for state in fleet.states.values()
        if not incapable(state.endpoint, policy, request.needs) and not violates_policy(state, policy.require)
    ]
    most = max(rooms, default=0)
    if most <= 0 or request.prompt_tokens <= most:
        return request
    bytes_per_token = request.prompt_size / request.prompt_tokens
    messages = request.body["messages"]
    around = request.prompt_size - sum(map(message_size, messages))  # the tools
    shorter = middle_out(messages, int(most * (1 - SPARE) * bytes_per_token) - around)
    if shorter is None:
        return request
    body = {**request.body, "messages": shorter}
    prompt = read_prompt(body)
    return msgspec.structs.replace(
        request,
        body=body,
        raw=b"",
        prompt_size=prompt.size,
        prompt_tokens=fleet.tokens.count(prompt.size, "tools" in request.needs),
        prefix=known_by(policy, salt + request.tenant, request.session, prompt, request.thinking, bytes_per_token),
        opening=fleet.tokens.count(prompt.opening, "tools" in request.needs),
    )


def middle_out(messages: Sequence[Json], budget: int) -> list[Json] | None:
    """The messages in at most `budget` bytes, as measured by `message_size`; None if that is impossible.

    Instructions, the first and the last user message and the last message are always kept.
    """
    units = _units(messages)
    sizes = [sum(map(message_size, unit)) for unit in units]
    loose = _loose(units)
    middle = (len(loose) - 1) / 2
    over = sum(sizes) - budget
    gone: set[int] = set()
    for _, at in sorted((abs(place - middle), at) for place, at in enumerate(loose)):
        if over <= 0:
            break
        gone.add(at)
        over -= sizes[at]
    rest = [message for at, unit in enumerate(units) if at not in gone for message in unit]
    return rest if over <= 0 else _shortened(rest, over)


def _units(messages: Sequence[Json]) -> list[list[Json]]:
    """Units that are kept or dropped together: a message, or tool calls with their results."""
    units: list[list[Json]] = []
    for message in messages:
        if message["role"] == "tool" and units and (units[-1][0].get("tool_calls") or units[-1][0]["role"] == "tool"):
            units[-1].append(message)
        else:
            units.append([message])
    return units


def _loose(units: Sequence[list[Json]]) -> list[int]:
    """The indices of the units that may be dropped."""
    users = [at for at, unit in enumerate(units) if unit[0]["role"] == "user"]
    held = {*users[:1], *users[-1:], len(units) - 1}
    return [at for at, unit in enumerate(units) if at not in held and unit[0]["role"] not in _INSTRUCTIONS]


def _shortened(messages: list[Json], over: int) -> list[Json] | None:
    """The messages reduced by `over` bytes, cut from the longest texts; from instructions only if nothing else is
    left."""
    texts = [at for at, message in enumerate(messages) if isinstance(message.get("content"), str)]
    texts.sort(key=lambda at: (messages[at]["role"] in _INSTRUCTIONS, -message_size(messages[at])))
    shorter = list(messages)
    for at in texts:
        if over <= 0:
            break
        shorter[at] = {**messages[at], "content": _cut(messages[at]["content"], over)}
        over -= message_size(messages[at]) - message_size(shorter[at])
    return shorter if over <= 0 else None


def _cut(text: str, over: int) -> str:
    """The text reduced by at least `over` bytes, but never below `LEAST`."""
    whole = text.encode()
    left = max(LEAST, len(whole) - over - len(MARK))
    if left + len(MARK) >= len(whole):
        return text
    head, tail = whole[: left - left // 2], whole[len(whole) - left // 2 :]
    return head.decode(errors="ignore") + MARK + tail.decode(errors="ignore")
