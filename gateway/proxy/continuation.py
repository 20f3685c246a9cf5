"""A streamed answer that broke in its text, and the request that has another host continue it.

    first host's bytes ──tee───> Continuation ──request──> second host: the conversation, and the text so far
                                      └─────────shape────> its chunks, under the id of the first host's

Only text can be continued: the part of a tool call, of reasoning or of a second choice that the client has cannot be
taken back.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.document.assembly import UNREADABLE, Assembly
from gateway.proxy.attempt import Attempt
from gateway.types import Policy, Request, Usage
from gateway.upstream import sse
from gateway.upstream.shape import Shape
from gateway.upstream.stream import HEAD

LARGEST = 1024 * 1024  # bytes of a stream that are kept
_STRUCTURED = frozenset({"logprobs", "response_format"})  # of a request whose answer is more than its text
_TEXT = frozenset({"role", "content"})  # all that an answer may hold


class Continuation:
    """What one client was sent so far, and the attempts that it is from."""

    __slots__ = ("_broken", "_parts", "_request", "_room")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._parts: list[bytes] = []
        self._room = LARGEST
        self._broken: list[Attempt] = []

    def __repr__(self) -> str:
        return f"<Continuation {self._request.id} after {self._broken}>"

    def tee(self, write: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Passes pieces on to `write`, and records them."""

        def both(data: bytes) -> None:
            write(data)
            self._room -= len(data)
            if self._room >= 0:
                self._parts.append(data)

        return both

    @property
    def possible(self) -> bool:
        """Whether what the client has is text, and all of it is known."""
        message = self._message()
        return bool(message.get("content")) and all(name in _TEXT or not message[name] for name in message)

    def request(self, broken: Attempt) -> Request:
        """The conversation with the text so far as its last message, which is to be continued."""
        self._broken.append(broken)
        body, text = self._request.body, self._message()["content"]
        *before, last = body["messages"]
        if last.get("prefix"):
            text = last["content"] + text
        else:
            before.append(last)
        messages = [*before, {"role": "assistant", "content": text, "prefix": True}]
        limits = {name: self._left(body[name]) for name in ("max_tokens", "max_completion_tokens") if body.get(name)}
        needs = self._request.needs | {"prefix"}
        return msgspec.structs.replace(
            self._request, body={**body, "messages": messages, **limits}, raw=b"", needs=needs
        )

    def shape(self, shape: Shape) -> Shape:
        """The same shape, in which chunks go on under the id of those that the client has."""
        head = self._assembled()
        return Continued(shape, {name: head[name] for name in HEAD if name in head})

    def total(self, last: Attempt) -> tuple[Usage, int]:
        """What all attempts of the answer used: the prompt once, as the last host counted it without the text."""
        first = self._broken[0].usage
        attempts = [*self._broken, last]
        completion = sum(one.usage.completion for one in attempts)
        usage = Usage(first.prompt, first.cached, completion, last.usage.reasoning, last.usage.source)
        return usage, sum(one.cost for one in attempts)

    @property
    def continues(self) -> bool:
        return bool(self._broken)

    def _left(self, limit: int) -> int:
        produced = sum(one.produced() for one in self._broken)
        return max(1, limit - produced)

    def _message(self) -> Mapping[str, Any]:
        """The answer so far; empty where it is not known whole, or is not one choice."""
        choices = self._assembled().get("choices", [])
        return choices[0]["message"] if self._room >= 0 and len(choices) == 1 else {}

    def _assembled(self) -> Mapping[str, Any]:
        assembly = Assembly()
        try:
            for payload in sse.payloads(b"".join(self._parts)):
                assembly.take(payload)
        except UNREADABLE:
            return {}
        return assembly.completion()


class Continued:
    """A surface's `Shape` for the host that continues another host's text."""

    __slots__ = ("_head", "_shape")

    def __init__(self, shape: Shape, head: Mapping[str, Any]) -> None:
        self._shape = shape
        self._head = head

    @property
    def hidden(self) -> Mapping[int, str]:
        return self._shape.hidden

    def chunk(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {**self._shape.chunk(payload), **self._head}

    def end(self, choice: dict[str, Any], reason: str) -> None:
        self._shape.end(choice, reason)

    def completion(self, payload: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        return self._shape.completion(payload, usage)

    def usage(self, usage: Usage, cost: int) -> dict[str, Any]:
        return self._shape.usage(usage, cost)


def continuation(request: Request, policy: Policy) -> Continuation | None:
    """What may continue a streamed answer to this request; None where the policy or the request rule it out."""
    if policy.resume != "continue" or not request.stream or request.thinking or policy.answer == "whole":
        return None
    body = request.body
    plain = (body.get("n") or 1) == 1 and not any(body.get(name) for name in _STRUCTURED)
    return Continuation(request) if plain else None
