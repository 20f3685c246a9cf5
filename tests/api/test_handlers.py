"""What holds for every handler: a fault of ours is told, and what the proxy says to its sink reaches the client's."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from gateway.api.chat import Chat, Completions
from gateway.api.messages import Messages
from gateway.config import load
from gateway.intake.auth import Keys
from gateway.intake.intake import Intake, Serving
from gateway.intake.model_and_policy import Names
from gateway.policy.policies import Policies
from gateway.proxy.proxy import Proxy
from gateway.route.fleet import Fleet
from gateway.types.sink import Handler, Inbound, Sink
from tests.support.gateway import Gateway, write_config

MESSAGES = [{"role": "user", "content": "Hi"}]
TWO_MODELS = {"messages": MESSAGES, "models": ["deepseek-v3.2", "deepseek-v3.2:floor"]}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/api/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": MESSAGES},
    "/v1/messages/count_tokens": {"messages": MESSAGES},
    "/v1/explain": {"messages": MESSAGES},
}


@pytest.mark.parametrize("path", BODIES)
async def test_a_fault_of_ours_is_reported_and_logged(
    gateway: Gateway, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no such luck")

    async with gateway({"own/fp8": "http://127.0.0.1:1"}) as running:
        monkeypatch.setattr(Intake, "read", fails)
        answer = await running.client.post(path, json={"model": "deepseek-v3.2", **BODIES[path]})
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "the gateway failed to handle this request"
    assert "no such luck" in caplog.text
    assert "luck" not in answer.text


class Client:
    """The sink of a client, of which only this is seen."""

    def __init__(self) -> None:
        self.aborted = 0
        self.sources: list[Any] = []

    def abort(self) -> None:
        self.aborted += 1

    def attach(self, source: Any) -> None:
        self.sources.append(source)


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    settings = load(write_config(tmp_path, {"a/fp8": "http://127.0.0.1:1"}), {})
    fleets = {model.id: Fleet(model.endpoints) for model in settings.models}
    serving = Serving(Keys(()), Policies(settings.policies), fleets, settings.default_policy)
    return Intake(serving, Names(settings.models))


HANDLERS: list[tuple[Callable[..., Handler], dict[str, Any]]] = [
    (Chat, {"messages": MESSAGES}),
    (Chat, TWO_MODELS),
    (Completions, {"prompt": "Hi"}),
    (Messages, {"messages": MESSAGES}),
]


@pytest.mark.parametrize(("handler", "body"), HANDLERS)
def test_a_client_that_is_cut_off_is_so_on_every_surface(
    handler: Callable[..., Handler], body: dict[str, Any], intake: Intake
) -> None:
    source = object()

    def serve(_: object, __: object, sink: Any, ___: float) -> None:
        sink.attach(source)
        sink.abort()

    client = Client()
    proxy = cast(Proxy, SimpleNamespace(serve=serve))
    inbound = Inbound({}, orjson.dumps({"model": "deepseek-v3.2", "stream": True, **body}), 0.0)
    handler(proxy, intake)(inbound, cast(Sink, client))
    assert (client.aborted, client.sources) == (1, [source])
