"""A row says of its attempt what the names of its fields say."""

from gateway.types import Row
from tests.proxy.routed import DONE, ROLE, WORD, chunk, data, says
from tests.proxy.world import BAD, MODEL, Make
from tests.support.host import ScriptedHost

USED = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
ANSWER = says(ROLE + WORD + chunk({}, "length") + data({"choices": [], "usage": USED}) + DONE)


async def test_the_row_of_an_attempt_that_ended_well(make: Make) -> None:
    async with ScriptedHost(ANSWER) as host:
        world = make(host)
        world.clock, world.wall_clock = lambda: 50.0, lambda: 1_000.0
        sink = world.send(stream=True, tenant="own", app="shop")
        await sink.ended.wait()
    (row,) = world.rows()
    assert row == Row(
        id="gen-1-1",
        exchange="gen-1",
        at=1_000.0,
        tenant="own",
        app="shop",
        model=MODEL,
        policy="test",
        stream=True,
        endpoint="a",
        provider="a",
        attempt=1,
        outcome="ok",
        status=200,
        finish_reason="length",
        ttft=0.0,
        prompt_tokens=11,
        cached_tokens=5,
        completion_tokens=7,
        reasoning_tokens=3,
        usage_source="host",
        cost=11 * 250_000 + 7 * 500_000,
        prompt_cost=11 * 250_000,
        predicted_usd=row.predicted_usd,
        predicted_s=row.predicted_s,
        last=True,
        client_status=200,
        client_ttft=0.0,
        key="own",
        price="unknown 0.25/0.25/0.5",
    )
    assert row.predicted_usd > 1_000 > row.predicted_s > 0


async def test_the_rows_of_a_failover(make: Make) -> None:
    async with ScriptedHost(BAD) as first, ScriptedHost(ANSWER) as second:
        world = make(first, second)
        world.clock = lambda: 50.0
        await world.ask()
    failed, answered = world.rows()
    assert (failed.attempt, failed.outcome, failed.status, failed.last, failed.client_status) == (
        1,
        "server",
        500,
        False,
        0,
    )
    assert failed.error
    assert (answered.attempt, answered.outcome, answered.status, answered.error) == (2, "ok", 200, "")
    assert (answered.last, answered.client_status, answered.hedge, answered.regret_reason) == (True, 200, "", "")


async def test_the_row_of_an_exchange_without_an_attempt(make: Make) -> None:
    world = make()
    world.clock, world.wall_clock = lambda: 50.0, lambda: 1_000.0
    world.send(app="shop")
    (row,) = world.rows()
    assert row == Row(
        id="gen-1-0",
        exchange="gen-1",
        at=1_000.0,
        tenant="local",
        app="shop",
        model=MODEL,
        policy="test",
        stream=False,
        endpoint="",
        provider="",
        attempt=0,
        outcome="unrouted",
        last=True,
        client_status=503,
        key="local",
    )
