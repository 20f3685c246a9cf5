from collections.abc import Sequence

from gateway.route.decide import make_plan
from gateway.route.fleet import Fleet
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.sim.baselines import LIST_PRICE
from gateway.sim.conversations import IDLE, Conversations
from gateway.sim.engine import requests
from gateway.sim.fleetfile import endpoint
from gateway.sim.workload import TraceRow
from gateway.types import Price, Usage
from tests.sim.world import host, row

SYSTEM = 1
ROWS = [row(float(talk), SYSTEM, 10 + talk, 100 + talk) for talk in range(40)]
HOSTS = [host("a"), host("b"), host("flat", price=Price(0.1, 0.1))]
HIT, MISS = Usage(1_000, 500, 10, 0, "host"), Usage(1_000, 0, 10, 0, "host")


def tried(one: TraceRow, name: str) -> TrackedAttempt:
    fleet = Fleet([endpoint(one) for one in HOSTS])
    request = requests([one], "m")[0]
    plan = make_plan(request, LIST_PRICE, fleet, 0.0, 0, lambda: 0.5)
    choice = next(choice for choice in plan.ranked if choice.endpoint.id == name)
    return TrackedAttempt(choice.state, request, plan.demand, choice.parts, 10.0)


def homes(conversations: Conversations, rows: Sequence[TraceRow], now: float) -> list[str | None]:
    return [conversations.pinned(one, now) for one in rows]


def test_a_conversation_stays_where_it_had_a_hit_but_a_system_prompt_is_none() -> None:
    conversations = Conversations(ROWS)
    conversations.answered(tried(ROWS[0], "a"), MISS, 0.0)
    assert conversations.pinned(ROWS[0], 1.0) is None
    conversations.answered(tried(ROWS[0], "a"), HIT, 2.0)
    turn, other = row(5.0, SYSTEM, 10, 100, 777), ROWS[1]
    assert homes(conversations, [turn, other, row(5.0, SYSTEM)], 5.0) == ["a", None, None]


def test_it_is_forgotten_when_idle_kept_by_answers_and_moved_by_a_hit_elsewhere() -> None:
    conversations, talk = Conversations(ROWS), ROWS[0]
    conversations.answered(tried(talk, "a"), HIT, 0.0)
    conversations.answered(tried(talk, "a"), MISS, IDLE - 1)
    assert conversations.pinned(talk, 2 * IDLE - 2) == "a"
    assert conversations.pinned(talk, 2 * IDLE - 1) is None
    conversations.answered(tried(talk, "b"), MISS, 2 * IDLE)
    assert conversations.pinned(talk, 2 * IDLE) is None
    conversations.answered(tried(talk, "b"), HIT, 2 * IDLE)
    assert conversations.pinned(talk, 2 * IDLE) == "b"


def test_a_hit_that_saves_nothing_pins_no_conversation() -> None:
    conversations = Conversations(ROWS)
    conversations.answered(tried(ROWS[0], "flat"), HIT, 0.0)
    assert conversations.pinned(ROWS[0], 1.0) is None


def test_a_trace_without_prefixes_has_no_conversations() -> None:
    conversations = Conversations([row(0.0)] * 40)
    conversations.answered(tried(row(0.0), "a"), HIT, 0.0)
    assert conversations.pinned(row(1.0), 1.0) is None
