"""What is booked of an answer that broke: its tokens, learned from what the host counted of others."""

import json

import pytest

from tests.proxy.routed import DONE, ROLE, STOP, WORD, Routed, rows, says
from tests.support.host import Out, Received, ScriptedHost, answers, completion, streams, usage

EACH = 3  # tokens in a delta of this host
WORDS = 40


def counted() -> list[object]:
    used = usage(prompt=10, completion=EACH * WORDS)
    return [ROLE, *[WORD] * WORDS, STOP, {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": used}]


async def test_a_stream_that_is_cut_is_booked_by_the_tokens_of_this_hosts_deltas(routed: Routed) -> None:
    scripts = [streams(counted())] * 5 + [streams([ROLE, *[WORD] * WORDS], done=False)]

    async def each(request: Received, out: Out) -> None:
        await scripts.pop(0)(request, out)

    async with ScriptedHost(each) as host, routed(host) as running:
        for _ in range(6):
            await running.chat(stream=True)
        *_, cut = rows(running)
        assert cut.usage_source == "estimated"
        assert cut.completion_tokens == pytest.approx(EACH * WORDS, rel=0.1)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_empty_answer_without_a_count_is_booked_with_its_prompt(stream: bool, routed: Routed) -> None:
    script = says(ROLE, STOP, DONE)
    async with (
        ScriptedHost(script) as first,
        ScriptedHost(streams(counted())) as second,
        routed(first, second) as running,
    ):
        await running.chat("Hi " * 1000, stream=stream)
        empty = rows(running)[0]
        assert (empty.outcome, empty.usage_source, empty.completion_tokens) == ("empty", "counted", 0)
        assert empty.prompt_tokens > 500


async def test_an_answer_that_cannot_be_read_is_booked_by_its_size(routed: Routed) -> None:
    body = b"\0" + json.dumps(completion("Hello " * 400)).encode()[1:]
    async with (
        ScriptedHost(answers(200, body)) as first,
        ScriptedHost(answers(200, completion("Hello"))) as second,
        routed(first, second) as running,
    ):
        await running.chat()
        unread = rows(running)[0]
        assert (unread.outcome, unread.usage_source) == ("garbage", "estimated")
        assert unread.completion_tokens == pytest.approx(len(body) / 4, rel=0.01)
