"""How often prompts are read again, learned from what was known of them."""

import pytest

from gateway.route.reread import HALF_LIFE, PRIOR, PRIOR_TOKENS, Rereads


def test_published_until_own_traffic_has_been_seen() -> None:
    assert Rereads().usual == PRIOR


def test_it_learns_tokens_that_were_sent_before_over_those_that_were_not() -> None:
    rereads = Rereads()
    for _ in range(10_000):
        rereads.add(10_000, 7_500, 0.0)
    assert rereads.usual == pytest.approx(3.0, rel=0.1)


def test_prompts_that_nobody_knows_bring_it_down() -> None:
    rereads = Rereads()
    rereads.add(PRIOR_TOKENS, 0, 0.0)
    assert rereads.usual == pytest.approx(PRIOR / 2)


def test_what_was_learned_fades() -> None:
    rereads = Rereads()
    rereads.add(3 * PRIOR_TOKENS, 0, 0.0)
    assert rereads.usual == pytest.approx(PRIOR / 4)
    rereads.add(0, 0, HALF_LIFE)
    assert rereads.usual == pytest.approx(PRIOR / 2.5)


def test_no_more_is_known_than_there_is() -> None:
    rereads = Rereads()
    rereads.add(1_000, 5_000, 0.0)
    assert rereads.usual == pytest.approx((1_000 + PRIOR * PRIOR_TOKENS) / PRIOR_TOKENS)
    assert repr(rereads) == "<Rereads 1.00>"
