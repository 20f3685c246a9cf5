"""`POST /v1/explain`: what it tells a tenant of what was sent before."""

import httpx

from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.host import ScriptedHost, answers, completion, usage

KEYS = {"GATEWAY_API_KEYS": "team:sk-team,other:sk-other"}
PROMPT = [{"role": "system", "content": "You are terse. " * 500}, {"role": "user", "content": "Hi"}]


async def asked(running: Running, path: str, key: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", "x-gateway-explain": "on"}
    return await running.client.post(path, json={"model": "deepseek-v3.2", "messages": PROMPT}, headers=headers)


async def share(running: Running, key: str) -> float:
    """How much of the prompt the gateway expects to be in the host's cache."""
    told = (await asked(running, "/v1/explain", key)).json()
    return float(told["ranked"][0]["expected_cached_share"])


@DIRECT_ONLY  # what a body comes to does not depend on the sink
async def test_what_one_tenant_has_sent_is_not_shown_to_another(gateway: Gateway) -> None:
    used = usage(2_000, 5, cached=1_900)
    async with (
        ScriptedHost(answers(200, completion("Hello", used=used))) as host,
        gateway({"own/host": host.url}, environ=KEYS) as running,
    ):
        unknown = await share(running, "sk-other")
        for _ in range(3):
            await asked(running, "/v1/chat/completions", "sk-team")
        assert await share(running, "sk-team") > unknown
        assert await share(running, "sk-other") == unknown == 0
        first = await asked(running, "/v1/chat/completions", "sk-other")
        assert first.headers["x-gateway-plan"].endswith(" 0%")
        assert await share(running, "sk-other") > 0
