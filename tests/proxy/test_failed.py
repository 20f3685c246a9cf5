"""The error of an exchange that failed: its status, what it says of whom, and the figures of a prompt that is too
long."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.errors import ClientError, ContextTooLong
from gateway.proxy.failed import NAMED, WITHOUT_HINT, broke, gave_up
from gateway.route.filters import CONTEXT, Dropped, Reason
from gateway.route.fleet import Fleet
from gateway.route.plan import Plan
from gateway.types import Endpoint, Failure, Fault, Policy, Request
from tests.route.world import plan

ASKED = Request("gen-1", {}, "m", "p", prompt_tokens=1_000)
RATE = Failure(Fault.RATE_LIMITED, "slow down", 429)
DOWN = Failure(Fault.SERVER, "HTTP 500", 500)
SILENT = Failure(Fault.TIMEOUT_FIRST_TOKEN, "nothing came")
CUT = Failure(Fault.CUT, "it broke off")


def planned(*dropped: Dropped, policy: Policy = Policy("p")) -> Plan:  # noqa: B008 (it is frozen)
    made = plan(Fleet([]), ASKED, policy)
    made.dropped = dropped
    return made


def error(*failures: Failure, request: Request = ASKED, policy: Policy = Policy("p")) -> ClientError:  # noqa: B008
    named = list(zip("abcdef", failures, strict=False))
    return gave_up(request, planned(policy=policy), named)


@pytest.mark.parametrize(
    ("failures", "status", "code", "wait"),
    [
        ([RATE], 429, "rate_limit_exceeded", WITHOUT_HINT),
        ([RATE, RATE], 429, "rate_limit_exceeded", WITHOUT_HINT),
        ([SILENT, SILENT], 504, "timeout_first_token", None),
        ([RATE, SILENT], 502, "timeout_first_token", None),
        ([RATE, DOWN], 503, "server", None),
        ([DOWN], 503, "server", None),
        ([DOWN, CUT], 502, "cut", None),
        ([CUT], 502, "cut", None),
    ],
)
def test_the_status_is_the_one_that_all_attempts_share(
    failures: Sequence[Failure], status: int, code: str, wait: float | None
) -> None:
    found = error(*failures)
    assert (found.status, found.code, found.retry_after) == (status, code, wait)
    assert [one["fault"] for one in (found.metadata or {})["attempts"]] == [one.fault for one in failures]


def test_the_clients_retry_after_is_the_shortest_of_all_hosts() -> None:
    waits = [Failure(Fault.RATE_LIMITED, "slow down", 429, retry_after=after) for after in (9.0, None, 4.0)]
    assert error(*waits).retry_after == 4.0
    assert error(waits[0], DOWN).retry_after == 9.0


def test_openrouter_has_another_status_for_a_timeout() -> None:
    asked = Request("gen-1", {}, "m", "p", surface="openrouter")
    assert [error(one, request=asked).status for one in (SILENT, DOWN)] == [524, 503]


def test_one_attempt_is_not_counted() -> None:
    assert error(DOWN).message == "a: HTTP 500"
    assert error(DOWN, CUT).message == "2 endpoints failed, the last was b: it broke off"


def test_attempts_at_one_endpoint_are_not_several_endpoints() -> None:
    found = gave_up(ASKED, planned(), [("a", DOWN), ("a", CUT)])
    assert found.message == "2 attempts failed, the last was at a: it broke off"


def test_an_answer_that_broke_off_says_where() -> None:
    found = broke("a", CUT)
    assert (found.status, found.code, found.message) == (502, "cut", "a: the answer broke off: it broke off")
    assert found.metadata == {
        "attempts": [{"endpoint": "a", "fault": "cut", "status": None, "message": "it broke off"}]
    }


def test_a_rejection_has_the_words_of_all_hosts_that_rejected_it() -> None:
    """The other failures are in `metadata` only."""
    first = Failure(Fault.REJECTED, "no `n`", 400, param="n", code="x")
    last = Failure(Fault.MALFORMED, "no `n` here", 422, param="n", code="y")
    found = error(first, DOWN, last)
    assert (found.message, found.status, found.param, found.code) == ("a: no `n`; c: no `n` here", 422, "n", "y")
    assert len((found.metadata or {})["attempts"]) == 3
    assert not found.final


@pytest.mark.parametrize(
    ("param", "surface", "rule", "final"),
    [
        ("content_filter", "openai", "final", True),
        ("content_filter", "openai", "failover", False),
        ("content_filter", "openrouter", "final", False),
        ("messages", "openai", "final", False),
    ],
)
def test_only_a_refusal_of_the_content_keeps_other_models_from_being_tried(
    param: str, surface: Any, rule: Any, final: bool
) -> None:
    refused = Failure(Fault.REJECTED, "no", 400, param=param)
    asked = Request("gen-1", {}, "m", "p", surface=surface)
    assert error(refused, request=asked, policy=Policy("p", content_filter=rule)).final is final


WORDS = "maximum context length is 2000 tokens and your request has {} input tokens"


@pytest.mark.parametrize(
    ("prompt", "limit", "param"),
    [(1_999, 500, "max_tokens"), (2_000, 500, "messages"), (1_999, None, "messages"), (2_001, 500, "messages")],
)
def test_a_host_whose_prompt_would_fit_alone_has_no_room_for_the_answer(
    prompt: int, limit: int | None, param: str
) -> None:
    asked = Request("gen-1", {}, "m", "p", max_tokens=limit)
    found = error(Failure(Fault.REJECTED, WORDS.format(prompt), 400, param="context"), request=asked)
    assert isinstance(found, ContextTooLong)
    sizes = {name: (found.metadata or {})[name] for name in ("prompt_tokens", "max_tokens", "largest_context")}
    assert (found.param, sizes) == (
        param,
        {"prompt_tokens": prompt, "max_tokens": limit, "largest_context": 2_000},
    )


# --- no endpoint was left


def dropped(name: str, rule: str = "require.zdr", detail: str = "retains", **about: Any) -> Dropped:
    return Dropped(Endpoint(name, name, "http://a", "m", **about), Reason(rule, detail))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("", "none is configured"),
        ("a", "a: require.zdr (retains)"),
        ("ab", "all 2: require.zdr (retains)"),
        ("abcde", "all 5: require.zdr (retains)"),
    ],
)
def test_one_reason_for_all_is_said_once(names: str, said: str) -> None:
    found = gave_up(ASKED, planned(*map(dropped, names)), [])
    assert found.message == f"no endpoint can serve this request under policy p: {said}"
    assert (found.status, found.code) == (404 if names else 503, "no_endpoint")
    assert [one["endpoint"] for one in (found.metadata or {})["removed"]] == list(names)


@pytest.mark.parametrize(("count", "who"), [(1, "b"), (NAMED, "b, c, d"), (NAMED + 1, f"{NAMED + 1} endpoints")])
def test_endpoints_are_named_while_they_are_few(count: int, who: str) -> None:
    first = dropped("a", "require.region", "is in us")
    found = gave_up(ASKED, planned(first, *map(dropped, "bcdef"[:count])), [])
    assert found.message.endswith(f": a: require.region (is in us); {who}: require.zdr (retains)")


def too_long(*endpoints: Dropped, **asked: Any) -> tuple[ClientError, dict[str, Any]]:
    found = gave_up(Request("gen-1", {}, "m", "p", **{"prompt_tokens": 1_000, **asked}), planned(*endpoints), [])
    return found, found.metadata or {}


def test_a_prompt_that_is_too_long_names_the_endpoint_where_most_would_fit() -> None:
    found, about = too_long(dropped("a", CONTEXT, context=600), dropped("b", CONTEXT, context=900), dropped("c"))
    assert isinstance(found, ContextTooLong)
    assert found.message == (
        "the maximum context length for this request is 900 tokens, at b; it needs 1,000 (about 1,000 in the prompt):"
        " over by 101"
    )
    assert (found.param, about["endpoint"], about["largest_context"], about["over_by"]) == ("messages", "b", 900, 101)
    assert (about["needed_tokens"], about["prompt_tokens"], about["max_tokens"]) == (1_000, 1_000, None)
    assert [one["endpoint"] for one in about["removed"]] == ["a", "b", "c"]


def test_where_the_prompt_alone_fits_it_is_the_answer_that_is_too_long() -> None:
    """That endpoint counts, although more of the prompt would fit in front of a short answer elsewhere."""
    found, about = too_long(
        dropped("a", CONTEXT, context=999, max_output=10), dropped("b", CONTEXT, context=1_200), max_tokens=300
    )
    assert found.param == "max_tokens"
    assert found.message == (
        "the maximum context length for this request is 1,200 tokens, at b; it needs 1,300 (about 1,000 in the prompt"
        " and 300 for the answer): over by 100; `max_tokens` may be up to 200"
    )
    assert (about["needed_tokens"], about["max_tokens"], about["over_by"]) == (1_300, 300, 100)


@pytest.mark.parametrize(
    ("context", "limit", "param"),
    [(1_001, None, "max_tokens"), (1_000, None, "messages"), (1_100, 999, "messages"), (1_100, 1_000, "max_tokens")],
)
def test_a_prompt_fits_alone_if_a_token_of_the_answer_is_left(context: int, limit: int | None, param: str) -> None:
    found, _ = too_long(dropped("a", CONTEXT, context=context, max_input=limit), max_tokens=300)
    assert found.param == param


def test_the_prompts_own_limit_is_named_where_it_is_the_smaller() -> None:
    found, about = too_long(dropped("a", CONTEXT, context=9_000, max_input=800), max_tokens=300)
    assert found.message == (
        "the maximum context length for this request is 800 tokens of prompt, at a; it needs 1,000 (about 1,000 in the"
        " prompt and 300 for the answer): over by 200"
    )
    assert (about["needed_tokens"], about["largest_context"], about["over_by"]) == (1_000, 800, 200)


def test_a_context_in_which_the_prompt_fits_is_not_what_is_wrong() -> None:
    found, _ = too_long(dropped("a", CONTEXT, context=9_000))
    assert found.code == "no_endpoint"
