"""Each canary passes the right answer and no other, and the simulated model knows the right ones."""

from dataclasses import replace
from random import Random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.probe.canaries import CANARIES, CLAIMED, ROOM
from gateway.probe.canary_question import Canary, CanaryQuestion, ProbeAnswer
from gateway.sim.host_prompt_cache import prompt_text, token_count
from gateway.sim.sim_answer import compose
from gateway.types import Dialect, Endpoint

ENDPOINT = Endpoint(
    "a/fp8",
    "a",
    "http://a",
    "m",
    supports=("tools", "json_schema"),
    dialect=Dialect(thinking="enable_thinking"),
    context=32_000,
)
BY_NAME = {canary.name: canary for canary in CANARIES}
each = pytest.mark.parametrize("canary", CANARIES, ids=list(BY_NAME))


def asked(canary: Canary, seed: int = 0) -> CanaryQuestion:
    question = canary.ask(Random(seed), ENDPOINT)
    assert question is not None
    return question


def answered(question: CanaryQuestion) -> ProbeAnswer:
    """What the simulated model says."""
    wanted = question.body.get("reasoning", {}).get("enabled", False)
    answer = compose({**question.body, "messages": question.body["messages"]}, wanted)
    calls = tuple((call.name, "".join(call.arguments)) for call in answer.calls)
    return ProbeAnswer("".join(answer.content), "".join(answer.reasoning), calls)


@each
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_the_right_answer_passes(canary: Canary, seed: int) -> None:
    question = asked(canary, seed)
    assert question.check(answered(question)) is None


@each
def test_questions_are_drawn_at_random(canary: Canary) -> None:
    assert asked(canary, 1).body == asked(canary, 1).body
    assert len({orjson.dumps(asked(canary, seed).body) for seed in range(20)}) > 1


@each
def test_no_answer_is_a_mistake(canary: Canary) -> None:
    switched_off = canary.name == "thinking" and not asked(canary).body["reasoning"]["enabled"]
    assert (asked(canary).check(ProbeAnswer()) is None) == switched_off


@pytest.mark.parametrize(("text", "mistake"), [("{0}", False), ("It is {0}.", False), ("{1}", True), ("", True)])
def test_a_sum(text: str, mistake: bool) -> None:
    question = asked(BY_NAME["arithmetic"])
    right = int(answered(question).text)
    assert (question.check(ProbeAnswer(text.format(right, right + 1))) is not None) == mistake
    assert question.check(ProbeAnswer(f"{right:,}")) is None


@pytest.mark.parametrize(
    "text", ["9" * 5_000, "٣" * 10, "1" + ",000" * 5_000, "-" * 10], ids=["long", "arabic", "commas", "none"]
)
def test_a_number_of_any_length_is_a_mistake_and_not_an_error(text: str) -> None:
    mistake = asked(BY_NAME["arithmetic"]).check(ProbeAnswer(text))
    assert mistake is not None
    assert len(mistake) < 100


@each
@given(text=st.text(), name=st.text())
def test_no_answer_is_an_error(canary: Canary, text: str, name: str) -> None:
    """An exception would end the round before its record is written, and the next one would begin with this host."""
    check = asked(canary).check
    check(ProbeAnswer(text, text, ((name, text), ("save_visit", text)), text))
    check(ProbeAnswer(text, calls=((name, text),)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"year": "1999"}, "wrong: year"),
        ({"year": 1999.0}, "wrong: year"),
        ({"open": 1}, "wrong: open"),
        ({"more": 1}, "wrong: more"),
        ({"more": None}, "wrong: more"),
        ({"city": None, "color": "pink"}, "wrong: city, color"),
    ],
)
def test_a_record_is_exact_in_value_and_type(change: dict[str, object], why: str) -> None:
    question = asked(BY_NAME["json"])
    right = orjson.loads(answered(question).text)
    assert question.check(ProbeAnswer(orjson.dumps({**right, **change}).decode())) == why


@pytest.mark.parametrize("text", ["{", "[]", "```json\n{}\n```"])
def test_a_record_is_json_and_nothing_else(text: str) -> None:
    assert asked(BY_NAME["json"]).check(ProbeAnswer(text)) in ("not JSON", "not a JSON object")


def test_a_call_is_the_one_that_was_wanted() -> None:
    question = asked(BY_NAME["tool_call"])
    [(name, arguments)] = answered(question).calls
    other = {"save_visit": "plan_trip", "plan_trip": "save_visit"}[name]
    twice = ProbeAnswer(calls=((name, arguments), (name, arguments)))
    assert question.check(ProbeAnswer(calls=((other, arguments),))) == f"{other} was called instead of {name}"
    assert question.check(twice) == "2 calls instead of one"
    assert question.check(ProbeAnswer(calls=((name, arguments[:-1]),))) == "not JSON"


def test_thinking_is_tested_switched_on_and_switched_off() -> None:
    questions = [asked(BY_NAME["thinking"], seed) for seed in range(20)]
    assert {question.body["reasoning"]["enabled"] for question in questions} == {True, False}
    for question in questions:
        on = question.body["reasoning"]["enabled"]
        assert (question.check(ProbeAnswer("23", "" if on else "I think")) is None) is False


def test_a_refused_context_is_a_mistake_with_the_hosts_words() -> None:
    question = asked(BY_NAME["context"])
    assert question.check(ProbeAnswer(refused="maximum is 8192")) == "refused: maximum is 8192"


@pytest.mark.parametrize("context", [32_000, 163_840])
def test_a_claimed_context_is_nearly_filled_and_never_exceeded(context: int) -> None:
    question = BY_NAME["context"].ask(Random(0), replace(ENDPOINT, context=context))
    assert question is not None
    tokens = token_count(prompt_text(question.body))
    assert CLAIMED - 0.1 < tokens / (context - ROOM) < CLAIMED + 0.05


@pytest.mark.parametrize(
    ("canary", "endpoint"),
    [
        ("json", replace(ENDPOINT, supports=("tools",))),
        ("tool_call", replace(ENDPOINT, supports=())),
        ("thinking", replace(ENDPOINT, dialect=Dialect(thinking="unknown"))),
        ("needle", replace(ENDPOINT, context=8_192)),
    ],
)
def test_canaries_for_unclaimed_capabilities_are_not_sent(canary: str, endpoint: Endpoint) -> None:
    assert BY_NAME[canary].ask(Random(0), endpoint) is None
