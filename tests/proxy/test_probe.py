"""A wrong key of a host: its operator reads which variable to check and what the host says; other clients do not."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.routed import until
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import ScriptedHost, answers

KEY = "a1b2c3d4e5f6"
ADVICE = "the host refused the gateway's account (HTTP 401); check HOST_KEY; the host says: no account for [redacted]"
REFUSES = answers(401, {"error": {"message": f"no account for {KEY}"}})
OF_A_HOST: dict[str, Any] = {"endpoint": {"api_key_env": "HOST_KEY"}, "environ": {"HOST_KEY": KEY}}


@DIRECT_ONLY  # the same message over either sink
@pytest.mark.parametrize("keys", [[], [{"tenant": "app", "key": "sk-client"}]], ids=["local", "with keys"])
async def test_a_wrong_key(
    gateway: Gateway, keys: list[dict[str, str]], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    async with ScriptedHost(REFUSES) as host, gateway({"a/fp8": host.url}, keys=keys, **OF_A_HOST) as running:
        answer = await running.chat(headers={"authorization": "Bearer sk-client"})
        await until(lambda: "a/fp8: breaker opened" in caplog.text)
    assert answer.status_code >= 400
    assert "the host refused the gateway's account (HTTP 401)" in answer.text
    assert (ADVICE in answer.text) is (keys == [])
    assert ("HOST_KEY" in answer.text) is (keys == [])
    assert f"a/fp8: {ADVICE}" in caplog.text
    assert KEY not in answer.text + caplog.text
