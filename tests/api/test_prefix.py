"""By what a prompt is recognised: its beginning, or the session that its client names."""

from typing import Any

import pytest

from gateway.api.prefix import known_by, read_prompt
from gateway.types import Policy

SESSION = Policy("s", affinity="session")
FIRST = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "x" * 4_000}]
SECOND = [*FIRST, {"role": "assistant", "content": "y" * 400}, {"role": "user", "content": "And then?"}]


def known(messages: list[dict[str, Any]], policy: Policy = SESSION, session: str = "s-1", tenant: str = "t") -> Any:
    return known_by(policy, tenant, session, read_prompt({"messages": messages}), False, 4.0)


def test_a_session_is_one_hash_for_all_that_it_has_sent_before() -> None:
    ((first, nothing_much),), ((second, tokens),) = known(FIRST), known(SECOND)
    assert first == second
    assert nothing_much < 10
    assert tokens == pytest.approx((4_000 + 400) / 4, abs=20)


def test_sessions_of_two_tenants_are_two() -> None:
    pairs = [("a", "a"), ("a", "b"), ("b", "a"), ("a", "b c"), ("a b", "c")]
    assert len({known(FIRST, tenant=tenant, session=session) for tenant, session in pairs}) == len(pairs)


def test_without_a_session_it_is_the_prefix() -> None:
    assert known(SECOND, session="") == known(SECOND, Policy("p"))
    assert len(known(SECOND, session="")) == len(SECOND)


def test_a_prefix_does_not_ask_for_the_session() -> None:
    assert known(SECOND, Policy("p"), session="one") == known(SECOND, Policy("p"), session="two")


def test_no_affinity_hashes_nothing() -> None:
    assert known(SECOND, Policy("p", affinity="none")) == ()
