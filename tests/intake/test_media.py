"""Images and what else is no text: refused before any host is asked, where no endpoint takes them."""

from typing import Any

import pytest

from gateway.api.openrouter_models import architecture
from gateway.intake.media import KINDS, media
from gateway.types import Endpoint, Model
from tests.proxy.routed import Routed, error
from tests.support.host import ScriptedHost, answers, completion

Json = dict[str, Any]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
TEXT = {"type": "text", "text": "what is this?"}
GOOD = answers(200, completion("Hi"))


def says(*parts: Any, role: str = "user") -> Json:
    return {"role": role, "content": list(parts)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions"])
async def test_a_part_that_no_endpoint_supports_is_refused_with_its_path(kind: str, path: str, routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host) as running:
        messages = [says(TEXT), says(TEXT, {"type": kind, kind: {}})]
        response = await running.client.post(path, json={"model": "deepseek-v3.2", "messages": messages})
        assert response.status_code == 400
        assert "messages[1].content[1]" in response.json()["error"]["message"]
        assert not host.requests


async def test_text_of_the_same_conversation_goes_on(routed: Routed) -> None:
    async with ScriptedHost(GOOD) as host, routed(host) as running:
        body: Json = {"model": "deepseek-v3.2", "messages": [says(IMAGE, TEXT)]}
        refused = await running.client.post("/v1/chat/completions", json=body)
        told = error(refused)
        assert (told["param"], told["code"]) == ("messages[0].content[0]", "unsupported_content")
        assert "no endpoint of deepseek/deepseek-v3.2 supports images" in told["message"]
        body["messages"] = [says(TEXT), {"role": "assistant", "content": "?"}, says(TEXT, role="user")]
        assert (await running.client.post("/v1/chat/completions", json=body)).status_code == 200
        assert len(host.requests) == 1


async def test_an_endpoint_that_declares_images_gets_them(routed: Routed) -> None:
    async with ScriptedHost(GOOD) as host, routed(host, settings={"endpoint": {"supports": ["image"]}}) as running:
        body = {"model": "deepseek-v3.2", "messages": [says(TEXT, IMAGE)]}
        assert (await running.client.post("/v1/chat/completions", json=body)).status_code == 200
        assert host.requests[0].json()["messages"] == body["messages"]
        body["messages"] = [says(AUDIO)]
        assert error(await running.client.post("/v1/chat/completions", json=body))["param"] == "messages[0].content[0]"


@pytest.mark.parametrize(
    "content", [None, "image_url", [], ["image_url"], [None], [{"type": ["image_url"]}], {"type": 1}]
)
def test_what_is_no_part_is_no_image(content: Any) -> None:
    assert media([{"role": "user", "content": content}, {"role": "user"}]) == {}


def test_what_a_model_reads_is_listed() -> None:
    endpoint = Endpoint("a/b", "a", "http://a", "m", supports=("tools", "audio", "image"))
    told = architecture(Model("x/y", "Y", 1_000, (endpoint,)))
    assert (told.modality, told.input_modalities) == ("text+image+audio->text", ["text", "image", "audio"])
