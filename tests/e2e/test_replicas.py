"""Two gateways over one store, as replicas run: a breaker that one opens holds for both, and so does a cap."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.gateway import Running, gateway_command, write_policy
from tests.support.host import ScriptedHost, answers, completion, usage

GOOD = answers(200, completion("hello", used=usage(1_000, 10)))
BAD = answers(500, {"error": {"message": "try again"}})
WITHIN = 60.0  # seconds until what one knows has reached the other


@asynccontextmanager
async def replica(tmp: Path, name: str, hosts: Mapping[str, str], store: str) -> AsyncIterator[Running]:
    """One gateway with a state folder of its own, and the policies of these tests."""
    folder = tmp / name
    folder.mkdir()
    write_policy(folder / "policies", "only-bad", require={"only": ["bad/fp8"]}, attempts={"max": 1})
    write_policy(
        folder / "policies",
        "capped",
        score={"value_of_time": "$0/h", "failure_cost": "$0", "price": "list"},
        pick={"how": "best", "explore": "0%"},
        affinity="none",
        cap={"share": "30%"},
    )
    async with gateway_command(folder, hosts, redis={"url": store}) as running:
        yield running


async def explained(running: Running, policy: str) -> Any:
    body = {"model": f"deepseek-v3.2:{policy}", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
    return (await running.client.post("/v1/explain", json=body)).json()


async def test_a_breaker_that_one_opened_is_respected_by_the_other(tmp_path: Path, valkey: str) -> None:
    async with ScriptedHost(BAD) as bad, ScriptedHost(GOOD) as good:
        hosts = {"bad/fp8": bad.url, "good/fp8": good.url}
        async with replica(tmp_path, "one", hosts, valkey) as one, replica(tmp_path, "two", hosts, valkey) as two:
            async with asyncio.timeout(WITHIN):
                while (await explained(two, "floor"))["ranked"][0]["endpoint"] != "good/fp8":
                    assert (await one.chat(model="deepseek-v3.2:only-bad")).status_code >= 500
            dropped = (await explained(two, "floor"))["dropped"]
            assert [(out["endpoint"], out["rule"]) for out in dropped] == [("bad/fp8", "breaker")]
            assert "at another worker" in dropped[0]["detail"]
            before = len(bad.requests)
            assert (await two.chat(model="deepseek-v3.2:floor")).headers["x-gateway-endpoint"] == "good/fp8"
            assert len(bad.requests) == before


async def ask(running: Running, number: int) -> None:
    """A prompt of about 1,000 tokens, whose answer has as many tokens as it may have."""
    await running.chat(f"{number} ".ljust(4_000, "x"), model="deepseek-v3.2:capped", max_tokens=10)


async def toll(running: Running, endpoint: str) -> float:
    """Dollars that the cap adds there to the score of a request."""
    ranked = (await explained(running, "capped"))["ranked"]
    return float(next(one["toll_usd"] for one in ranked if one["endpoint"] == endpoint))


async def test_a_cap_holds_for_what_both_sent(tmp_path: Path, valkey: str) -> None:
    """One has two endpoints only and cannot keep 30 %, so the other keeps away from both, though it sent none there."""
    async with ScriptedHost(GOOD) as a, ScriptedHost(GOOD) as b, ScriptedHost(GOOD) as c, ScriptedHost(GOOD) as d:
        hosts = {"a/fp8": a.url, "b/fp8": b.url, "c/fp8": c.url, "d/fp8": d.url}
        few = dict(list(hosts.items())[:2])
        async with replica(tmp_path, "one", few, valkey) as one, replica(tmp_path, "two", hosts, valkey) as two:
            for number in range(100):
                await ask(one, number)
            assert len(a.requests) + len(b.requests) == 100
            async with asyncio.timeout(WITHIN):
                while await toll(two, "a/fp8") < 0.9 * await toll(one, "a/fp8"):
                    await asyncio.sleep(0.1)
            for number in range(30):
                await ask(two, number)
            counts = [len(host.requests) for host in (a, b, c, d)]
            assert sum(counts) == 130
            assert counts[0] + counts[1] <= 103, "each by its own books, the other would have sent 15 more there"
