"""One question, asked of a scripted gateway: what a demo reads from an answer, and what it says when there is none."""

import asyncio

import pytest

from gateway.sim.question import AnswerTiming, Unanswered, ask
from tests.support.host import Script, ScriptedHost, answers, chunks, streams, usage
from tests.support.ports import free_port

PRICED = usage(prompt=12, completion=3) | {"cost": 0.0000125}
ABOUT = {"x-gateway-endpoint": "novita/fp8", "x-gateway-cache": "hit"}


async def asked(script: Script) -> tuple[AnswerTiming, str]:
    """The reply, and the text that was shown."""
    shown: list[str] = []
    async with ScriptedHost(script) as host:
        reply = await asyncio.to_thread(ask, host.port, "Why?", shown.append)
        sent = host.requests[0]
    assert sent.json()["messages"] == [{"role": "user", "content": "Why?"}]
    assert sent.headers["x-gateway-cache"] == "on"
    return reply, "".join(shown)


async def test_a_streamed_answer_is_shown_as_it_comes_and_counted() -> None:
    reply, text = await asked(streams(chunks("One two three", used=PRICED)))
    assert text == "One two three"
    assert (reply.prompt_tokens, reply.output_tokens, reply.usd) == (12, 3, 0.0000125)
    assert 0 < reply.ttft <= reply.seconds


async def test_headers_say_who_answered_and_whether_from_the_cache() -> None:
    body = b"".join(b"data: %s\n\n" % event for event in (b'{"choices": [], "usage": %s}' % USAGE, b"[DONE]"))
    reply, _ = await asked(answers(200, body, ABOUT))
    assert (reply.endpoint, reply.cache) == ("novita/fp8", "hit")


async def test_a_comment_says_who_answered_when_the_headers_left_earlier() -> None:
    reply, text = await asked(streams([b": keep-alive\n\n", b": endpoint baidu/fp8\n\n", *chunks("Hi", used=PRICED)]))
    assert (reply.endpoint, text) == ("baidu/fp8", "Hi")


USAGE = b'{"prompt_tokens": 1, "completion_tokens": 1, "cost": 0}'


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (answers(503, {"error": {"message": "nobody is there"}}), "answered 503: nobody is there"),
        (answers(503, b"<html>"), "gave no answer"),
        (streams(chunks("One two")[:2], done=False), "broke off without an end"),
        (streams([*chunks("One")[:2], {"error": {"message": "cut"}, "choices": []}]), "broke off: cut"),
        (streams(["nonsense"]), "gave no answer"),
        (streams(chunks("One")), "gave no answer: KeyError\\('cost'\\)"),
    ],
    ids=["error", "no JSON", "cut", "error event", "nonsense", "no cost"],
)
async def test_what_is_no_whole_answer_is_reported_in_words(script: Script, reason: str) -> None:
    with pytest.raises(Unanswered, match=reason):
        await asked(script)


def test_a_refused_connection_is_reported_in_words() -> None:
    with pytest.raises(Unanswered, match="Connection refused"):
        ask(free_port(), "Why?", lambda _: None)
