"""An endpoint behind a translator, over real sockets; the translator is a script in litellm's place."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.errors import ConfigError
from gateway.types import Endpoint
from gateway.upstream.litellm_adapter import Adapted, lacking, load
from gateway.upstream.litellm_call import Send, Translate
from gateway.upstream.litellm_request import HostRequest
from gateway.upstream.transport.transport import Transport
from tests.support.eventstream import frame
from tests.support.host import Out, Received, ScriptedHost, answers
from tests.upstream.recorder import Recorder

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
STREAMED = {**ASKED, "stream": True}


def endpoint(url: str = "https://host/v1", **fields: Any) -> Endpoint:
    return Endpoint("b", "b", url, "bedrock/converse/m", adapter="litellm", **fields)


def said(content: str, finish: str | None = None) -> dict[str, Any]:
    part = {"role": "assistant", "content": content}
    return {"id": "x", "choices": [{"index": 0, "delta": part, "message": part, "finish_reason": finish}]}


async def by_line(question: Mapping[str, Any], ask: Send, url: str) -> AsyncIterator[dict[str, Any]]:
    """Asks with the question as it is; each read of the answer is a chunk."""
    answer = await ask(HostRequest("POST", f"{url}/converse?x=1", [(b"X-Sign", b"s")], orjson.dumps(dict(question))))
    if not question.get("stream"):
        data = b"".join([piece async for piece in answer.body])
        yield said(data.decode(), "stop")
        return
    async for data in answer.body:
        yield said(data.decode("utf-8", "replace"))
    yield said("", "stop")


class Asking:
    """A host, and an endpoint there whose translator is `translate`, in turn `by_line`."""

    def __init__(self, host: ScriptedHost, translate: Translate | None = None) -> None:
        self.transport = Transport()
        at = endpoint(host.url)

        def usual(question: Mapping[str, Any], ask: Send) -> AsyncIterator[dict[str, Any]]:
            return by_line(question, ask, host.url)

        self.adapted = Adapted(at, "key", lambda _, __: translate or usual, self.transport)

    async def __aenter__(self) -> "Asking":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transport.close()

    def send(self, body: Mapping[str, Any] = STREAMED) -> tuple[Recorder, Any]:
        recorder = Recorder()
        return recorder, self.adapted.send(orjson.dumps(body), recorder, 5.0)

    async def ask(self, body: Mapping[str, Any] = STREAMED) -> Recorder:
        return await self.send(body)[0].ended()


def script(*pieces: bytes, after: str = "end") -> Any:
    async def run(_: Received, out: Out) -> None:
        await out.head(200)
        for piece in pieces:
            await out.send(piece)
        if after == "end":
            await out.end()
        elif after == "stall":
            await out.stall()
        else:
            out.cut()

    return run


async def test_a_stream_is_openais_with_the_hosts_own_reason() -> None:
    async with ScriptedHost(script(b'Hello "finish_reason":"repetition"')) as host, Asking(host) as asking:
        recorder = await asking.ask()
    first, second, done = recorder.body.split(b"\n\n")[:3]
    assert orjson.loads(first[6:])["choices"][0]["delta"]["content"].startswith("Hello")
    assert orjson.loads(second[6:])["choices"][0]["finish_reason"] == "repetition"
    assert done == b"data: [DONE]"
    assert recorder.status == 200
    assert recorder.end == "complete"
    (request,) = host.requests
    assert request.path == "/converse?x=1"
    assert request.headers["x-sign"] == "s"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["host"] == f"127.0.0.1:{host.port}"
    assert request.json() == {"messages": ASKED["messages"], "stream": True}


async def test_headers_of_a_trace_are_added_to_those_that_are_signed() -> None:
    recorder, trace = Recorder(), b"traceparent: 00-1\r\ntracestate: a=1\r\n"
    async with ScriptedHost(script(b"Hello")) as host, Asking(host) as asking:
        asking.adapted.send(orjson.dumps(STREAMED), recorder, 5.0, trace)
        await recorder.ended()
    found = host.requests[0].headers
    assert (found["x-sign"], found["traceparent"], found["tracestate"]) == ("s", "00-1", "a=1")
    assert host.requests[0].json()["stream"] is True


async def test_a_whole_answer() -> None:
    async with ScriptedHost(answers(200, {"stopReason": "end_turn"})) as host, Asking(host) as asking:
        recorder = await asking.ask(ASKED)
    assert orjson.loads(recorder.body)["choices"][0]["finish_reason"] == "stop"
    assert recorder.end == "complete"


async def test_a_stream_without_a_reason_ends_without_one() -> None:
    async with ScriptedHost(script(b"Hello")) as host, Asking(host) as asking:
        recorder = await asking.ask()
    assert b'"finish_reason":"' not in recorder.body


@pytest.mark.parametrize("body", [ASKED, STREAMED])
async def test_an_error_comes_as_the_host_said_it(body: dict[str, Any]) -> None:
    words = b'{"message": "Too many requests, wait"}'
    async with ScriptedHost(answers(429, words, {"retry-after": "7"})) as host, Asking(host) as asking:
        recorder = await asking.ask(body)
    assert (recorder.status, recorder.body, recorder.end) == (429, words, "complete")
    assert (b"retry-after", b"7") in recorder.headers
    assert len(host.requests) == 1


async def test_no_connection() -> None:
    async with ScriptedHost([]) as host:
        pass
    async with Asking(host) as asking:
        recorder = await asking.ask()
    assert recorder.fault == "refused"
    assert recorder.status == 0


async def test_without_a_connection_the_translation_ends_too() -> None:
    over = asyncio.Event()
    async with ScriptedHost([]) as host:
        pass

    async def translate(question: Mapping[str, Any], ask: Send) -> AsyncIterator[dict[str, Any]]:
        try:
            async for payload in by_line(question, ask, host.url):
                yield payload
        finally:
            over.set()

    async with Asking(host, translate) as asking:
        await asking.ask()
        await asyncio.wait_for(over.wait(), 60)


async def test_a_cut_comes_after_what_was_said() -> None:
    async with ScriptedHost(script(b"Hello", after="cut")) as host, Asking(host) as asking:
        recorder = await asking.ask()
    assert b"Hello" in recorder.body
    assert b"[DONE]" not in recorder.body
    assert recorder.fault == "cut"


async def test_a_whole_answer_that_is_cut_is_not_sent_in_part() -> None:
    async with ScriptedHost(script(b"Hello", after="cut")) as host, Asking(host) as asking:
        recorder = await asking.ask(ASKED)
    assert recorder.body == b""
    assert recorder.fault == "cut"


async def test_cancelling_closes_the_connection() -> None:
    async with ScriptedHost(script(b"Hello", after="stall")) as host, Asking(host) as asking:
        recorder, call = asking.send()
        await host.until(lambda: b"Hello" in recorder.body)
        assert call.written
        call.cancel()
        await host.until(lambda: host.gone == 1)
    assert recorder.end is None


async def test_cancelling_from_within_a_callback() -> None:
    async with ScriptedHost(script(b"Hello", after="stall")) as host, Asking(host) as asking:
        recorder, call = asking.send()
        recorder.when_data = call.cancel
        await host.until(lambda: host.gone == 1)
    assert recorder.end is None


async def test_what_was_cancelled_before_it_was_sent_is_not_sent() -> None:
    async with ScriptedHost([]) as host, Asking(host) as asking:
        _, call = asking.send()
        call.cancel()
        await asyncio.sleep(0)
        assert not call.written
        assert host.accepted == 0


async def test_a_paused_call_reads_nothing_until_it_is_resumed() -> None:
    async with ScriptedHost(script(b"Hello")) as host, Asking(host) as asking:
        recorder, call = asking.send()
        call.pause()
        await host.until(lambda: len(host.requests) == 1)
        assert recorder.status == 0
        call.resume()
        await recorder.ended()
    assert recorder.end == "complete"


@pytest.mark.parametrize("elsewhere", ["https://127.0.0.1:1", "http://localhost:1"])
async def test_requests_go_only_to_base_url(elsewhere: str) -> None:
    def astray(question: Mapping[str, Any], ask: Send) -> AsyncIterator[dict[str, Any]]:
        return by_line(question, ask, elsewhere)

    async with ScriptedHost([]) as host, Asking(host, astray) as asking:
        recorder = await asking.ask()
    assert recorder.status == 400
    assert b"a host other than that of base_url" in recorder.body


async def test_nothing_is_sent_twice() -> None:
    async def insisting(_: Mapping[str, Any], ask: Send) -> AsyncIterator[dict[str, Any]]:
        question = HostRequest("POST", host.url, [], b"{}")
        await ask(question)
        await ask(question)
        yield said("never")

    async with ScriptedHost(script(b"Hello", after="stall")) as host, Asking(host, insisting) as asking:
        recorder = await asking.ask()
        assert b"second request" in recorder.body
        await host.until(lambda: host.gone == 1)
    assert len(host.requests) == 1


@pytest.mark.parametrize("name", ["api_base", "api_key", "extra_headers", "mock_response", "n", "top_k"])
async def test_a_client_says_only_what_is_for_the_host(name: str) -> None:
    async with ScriptedHost([]) as host, Asking(host) as asking:
        recorder = await asking.ask({**STREAMED, name: 2})
    assert recorder.status == 400
    assert orjson.loads(recorder.body)["error"]["param"] == name


async def test_nothing_is_fetched_for_a_message() -> None:
    image = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}
    async with ScriptedHost([]) as host, Asking(host) as asking:
        recorder = await asking.ask({"messages": [{"role": "user", "content": [image]}]})
    assert recorder.status == 400
    assert host.accepted == 0


async def test_text_in_parts_goes_through() -> None:
    asked = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "stream": True}
    async with ScriptedHost(script(b"Hello")) as host, Asking(host) as asking:
        assert (await asking.ask(asked)).status == 200
        assert (await asking.ask({"messages": [{"role": "user", "content": ["Hi"]}]})).status == 400
    assert [request.json() for request in host.requests] == [asked]


async def test_one_choice_is_what_litellm_reads_anyway() -> None:
    async with ScriptedHost(script(b"Hello")) as host, Asking(host) as asking:
        await asking.ask({**STREAMED, "n": 1})
    assert "n" not in host.requests[0].json()


class Refusal(Exception):
    status_code = 401
    message = "no credentials"


def failing(error: Exception, ask_first: bool = False, url: str = "") -> Translate:
    async def translate(question: Mapping[str, Any], ask: Send) -> AsyncIterator[dict[str, Any]]:
        if ask_first:
            async for one in by_line(question, ask, url):
                yield one
                break
        raise error
        yield

    return translate


@pytest.mark.parametrize(("error", "status"), [(Refusal(), 401), (ValueError("no credentials"), 500)])
async def test_what_fails_before_the_host_was_sent_the_request_has_a_status(error: Exception, status: int) -> None:
    async with ScriptedHost([]) as host, Asking(host, failing(error)) as asking:
        recorder = await asking.ask()
    assert recorder.status == status
    assert orjson.loads(recorder.body)["error"] == {"message": "no credentials", "code": status, "param": None}
    assert recorder.end == "complete"


TRACEBACK = """
Traceback (most recent call last):
  File "/usr/lib/python3/site-packages/litellm/main.py", line 10, in completion
    raise KeyError(secret)
KeyError: 'secret'
"""
SAID = {  # by litellm: what its client is told
    f"litellm.APIConnectionError: no such region{TRACEBACK}": "no such region",
    f"litellm.BadRequestError: AzureException BadRequestError - too hot{TRACEBACK}": "too hot",
    f"litellm.InternalServerError: InternalServerError: BedrockException - busy\nsecond line{TRACEBACK}": "busy",
    f"Invalid response object {TRACEBACK}\n\nreceived_args={{'a': 1}}": "Invalid response object",
    "Traceback (most recent call last):\n  File 'a.py'": "Refusal",
    "\n\n  first\nsecond": "first",
    "[Errno 2] No such file: '/etc/gateway/vertex.json'": "[Errno 2] No such file: '[path]'",
    "cannot read ~/keys/a.json or C:\\keys\\b.json": "cannot read [path] or [path]",
    "see https://docs.host.example/errors/quota.html; model/x/invoke and 1/2": (
        "see https://docs.host.example/errors/quota.html; model/x/invoke and 1/2"
    ),
    "ValidationError for `a`: wrong": "ValidationError for `a`: wrong",
    "x" * 9000: "x" * 8192,
}


@pytest.mark.parametrize("said", SAID)
async def test_the_client_gets_one_line_and_nothing_of_this_machine(said: str) -> None:
    error = Refusal()
    error.message = said
    async with ScriptedHost([]) as host, Asking(host, failing(error)) as asking:
        recorder = await asking.ask()
    assert orjson.loads(recorder.body)["error"]["message"] == SAID[said]


async def test_no_traceback_is_sent_over_an_answer() -> None:
    error = ValueError(f"odd bytes{TRACEBACK}")
    for asked in (STREAMED, ASKED):
        async with ScriptedHost(script(b"Hello")) as host, Asking(host, failing(error, True, host.url)) as asking:
            recorder = await asking.ask(asked)
        told = f"{recorder.body!r} {recorder.message}"
        assert "odd bytes" in told
        assert not [word for word in ("Traceback", "site-packages", "KeyError", "secret") if word in told]


async def test_what_fails_within_a_stream_is_reported_in_it() -> None:
    async with (
        ScriptedHost(script(b"Hello")) as host,
        Asking(host, failing(ValueError("odd bytes"), True, host.url)) as asking,
    ):
        recorder = await asking.ask()
    *_, last, rest = recorder.body.split(b"\n\n")
    assert orjson.loads(last[6:])["error"]["message"] == "odd bytes"
    assert rest == b""


async def test_what_fails_over_a_whole_answer_is_garbage() -> None:
    async with (
        ScriptedHost(script(b"Hello")) as host,
        Asking(host, failing(ValueError("odd bytes"), True, host.url)) as asking,
    ):
        recorder = await asking.ask(ASKED)
    assert recorder.fault == "garbage"
    assert "odd bytes" in (recorder.message or "")


async def test_an_exception_in_the_stream_is_reported_in_the_hosts_words() -> None:
    failed = frame("modelStreamErrorException", {"message": "out of luck"}, exception=True)
    async with (
        ScriptedHost(script(failed)) as host,
        Asking(host, failing(ValueError("litellm's own words"), True, host.url)) as asking,
    ):
        recorder = await asking.ask()
    error = orjson.loads(recorder.body.split(b"\n\n")[-2][6:])["error"]
    assert error == {"message": "out of luck", "type": "modelStreamErrorException", "code": 500}


async def test_a_translator_that_sends_nothing() -> None:
    async def silent(_: Mapping[str, Any], __: Send) -> AsyncIterator[dict[str, Any]]:
        return
        yield

    async with ScriptedHost([]) as host, Asking(host, silent) as asking:
        assert (await asking.ask()).fault == "garbage"


async def test_a_rehearsal_sends_nothing() -> None:
    async with ScriptedHost([]) as host, Asking(host) as asking:
        await asking.adapted.warm_up()
        assert host.accepted == 0


async def test_closing_the_transport_ends_a_call() -> None:
    async with ScriptedHost(script(b"Hello", after="stall")) as host, Asking(host) as asking:
        recorder, _ = asking.send()
        await host.until(lambda: b"Hello" in recorder.body)
        asking.transport.close()
        assert (await recorder.ended()).fault == "cut"


def test_no_key_is_shown() -> None:
    adapted = Adapted(endpoint(), "secret", lambda _, __: failing(ValueError()), Transport())
    assert repr(adapted) == "<Adapted b at https://host:443>"


def test_others_need_no_package() -> None:
    assert lacking(Endpoint("a", "a", "https://host/v1", "m")) is None


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.litellm_adapter.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"endpoint b: .* install llm-routing-gateway\[vertex\]"):
        load(replace(endpoint(), model="vertex_ai/m"))


def test_a_package_without_its_parent_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_parent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("gateway.upstream.litellm_adapter.find_spec", no_parent)
    assert lacking(replace(endpoint(), model="vertex_ai/m"))
    assert lacking(endpoint()) is None  # Bedrock needs nothing more
