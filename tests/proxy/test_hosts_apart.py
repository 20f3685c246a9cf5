"""No field and no header of a client chooses an address, and no host sees another host's key, or the client's."""

import asyncio
from typing import Any

import yaml

from tests.support.gateway import DIRECT_ONLY, MODEL, Gateway
from tests.support.host import ScriptedHost, answers, completion

GOOD = answers(200, completion("Hello"))
CLIENT = {
    "authorization": "Bearer client-key",
    "x-api-key": "client-key",
    "cookie": "session=client-key",
    "proxy-authorization": "Basic client-key",
    "x-forwarded-host": "evil.example",
    "forwarded": "host=evil.example",
    "x-http-method-override": "GET",
}
pytestmark = DIRECT_ONLY  # what is sent to hosts does not depend on the sink


def addresses(trap: str) -> dict[str, Any]:
    """Fields by which clients of other gateways name one."""
    names = ("base_url", "api_base", "api_url", "url", "endpoint", "proxy", "callback_url", "webhook", "model_url")
    image = {"type": "image_url", "image_url": {"url": f"{trap}/image.png"}}
    content = [{"type": "text", "text": f"Look at {trap}/page"}, image]
    return dict.fromkeys(names, trap) | {
        "messages": [{"role": "user", "content": content}],
        "extra_headers": {"host": "evil.example"},
        "extra_body": {"base_url": trap},
        "provider": {"base_url": trap},
    }


async def test_no_request_goes_to_an_address_that_a_client_or_a_host_names(gateway: Gateway) -> None:
    async with ScriptedHost(GOOD) as trap:
        moved = answers(307, b"", {"location": f"{trap.url}/v1/chat/completions", "refresh": f"0; url={trap.url}"})
        async with ScriptedHost([moved, GOOD, GOOD]) as host:
            endpoint = {"api_key_env": "HOST_KEY", "supports": ["image"]}
            environ = {"HOST_KEY": "host-key", "GATEWAY_API_KEYS": "t:client-key"}
            async with gateway({"a/fp8": host.url}, endpoint=endpoint, environ=environ) as running:
                assert (await running.chat(headers=CLIENT)).status_code in (200, 502), "a redirect is no answer"
                await running.chat(headers=CLIENT, **addresses(trap.url))
                for name in ("messages", "responses"):
                    body = {"model": "deepseek-v3.2", "max_tokens": 9, "input": "Hi", **addresses(trap.url)}
                    await running.client.post(f"/v1/{name}", json=body, headers=CLIENT)
        assert trap.accepted == 0
        assert host.requests
    for request in host.requests:
        assert request.path == "/v1/chat/completions"
        assert request.headers["host"] == host.url.removeprefix("http://")
        assert request.headers["authorization"] == "Bearer host-key"
        assert "client-key" not in str(request.headers)
        assert "evil" not in str(request.headers)


async def test_each_host_gets_its_own_key_alone(gateway: Gateway, tmp_path: Any) -> None:
    """By failover, on kept connections, and where two endpoints with keys of their own share a host."""
    async with ScriptedHost([answers(500, {}), *[GOOD] * 8]) as one, ScriptedHost(GOOD) as other:
        price = {"input": 1, "output": 1}
        endpoints = [
            {"id": name, "provider": "p", "base_url": f"{url}/{name}", "model": "m", "price": price, "api_key_env": key}
            for name, url, key in (("a", one.url, "KEY_A"), ("b", one.url, "KEY_B"), ("c", other.url, "KEY_C"))
        ]
        models = {"deepseek/deepseek-v3.2": {"endpoints": endpoints, **MODEL}}
        config = tmp_path / "own.yaml"
        config.write_text(yaml.safe_dump({"catalogue": False, "models": models}))
        environ = {"KEY_A": "secret-of-a", "KEY_B": "secret-of-b", "KEY_C": "secret-of-c"}
        async with gateway({}, config=config, environ=environ) as running:
            for name in "abcab":
                await running.chat(provider={"order": [name]})
            await asyncio.gather(*(running.chat(provider={"order": [name]}) for name in "abc"))
        seen = {(request.path[1], request.headers["authorization"]) for request in (*one.requests, *other.requests)}
    assert seen == {(name, f"Bearer secret-of-{name}") for name in "abc"}
