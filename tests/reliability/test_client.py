"""The client of the trials sees how each answer ended, and whether its text is a host's own."""

from collections.abc import Sequence

from tests.reliability.client import Answer, Question, ask
from tests.reliability.signed import signed
from tests.support.host import Json, Out, Received, Script, ScriptedHost, answers, chunks, completion, streams

TEXT = "".join(signed("h1", "a", 6))


def said(words: Sequence[str], reasoning: Sequence[str] = ()) -> list[Json]:
    """The events of a stream with these pieces of text, without its end."""
    first = chunks("x")[:2]
    thought = [{"choices": [{"delta": {"reasoning_content": word}}]} for word in reasoning]
    return [first[0], *thought, *({"choices": [{"delta": {"content": word}}]} for word in words)]


async def asked(script: Script, **fields: object) -> Answer:
    async with ScriptedHost(script) as host:
        return await ask(Question(1, "m", **fields), host.port)  # type: ignore[arg-type]


async def test_a_stream() -> None:
    answer = await asked(streams(said(signed("h1", "a", 6))))
    assert (answer.end, answer.text, answer.damaged, answer.status) == ("done", "whole", False, 200)
    assert answer.port


async def test_a_whole_answer() -> None:
    answer = await asked(answers(200, completion(TEXT), {"x-generation-id": "gen-1"}), stream=False)
    assert (answer.end, answer.text, answer.exchange) == ("done", "whole", "gen-1")


async def test_an_answer_that_lost_its_end_is_damaged() -> None:
    assert (await asked(streams(said(signed("h1", "a", 6)[:4])))).damaged
    assert (await asked(answers(200, completion(TEXT[:-4])), stream=False)).damaged
    assert (await asked(streams(said(signed("h1", "a", 6), signed("h1", "a", 4)[:2])))).damaged


async def test_text_of_two_answers_is_damaged() -> None:
    answer = await asked(streams(said([*signed("h1", "a", 6)[:3], *signed("h2", "b", 6)[3:]])))
    assert (answer.text, answer.damaged) == ("damaged", True)


async def test_errors_before_and_within_the_answer() -> None:
    refused = await asked(answers(503, {"error": {"code": "server", "message": "busy"}}))
    assert (refused.end, refused.status, refused.error, refused.damaged) == ("error", 503, "server", False)
    event = {"error": {"code": "cut", "message": "the host broke the connection"}}
    within = await asked(streams([*said(signed("h1", "a", 6)[:3]), event], done=False))
    assert (within.end, within.error, within.text, within.damaged) == ("error", "cut", "part", False)


async def cut(request: Received, out: Out) -> None:
    await out.head(200, {"content-type": "text/event-stream"})
    out.cut()


async def test_a_connection_that_is_cut() -> None:
    assert (await asked(cut)).end == "cut"


async def test_a_stream_that_ends_without_an_end() -> None:
    answer = await asked(streams(said(signed("h1", "a", 6)), done=False))
    assert (answer.end, answer.error) == ("error", "a stream without an end")


async def test_a_client_that_leaves() -> None:
    async with ScriptedHost(streams(said(signed("h1", "a", 6)))) as host:
        answer = await ask(Question(1, "m", leave=3), host.port)
    assert (answer.end, answer.text) == ("left", "part")


async def test_no_connection() -> None:
    async with ScriptedHost(answers()) as host:
        port = host.port
    assert (await ask(Question(1, "m"), port)).end == "refused"
