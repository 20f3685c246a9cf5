import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.probe.worst_case import worst_case
from gateway.types import Price, PriceTier, Usage, Window
from gateway.upstream.usage import cost

PLAIN = Price(0.27, 0.40, 0.135)
TIERED = Price(0.27, 0.40, tiers=(PriceTier(128_000, 0.5, 0.9, 0.6),))
HOURLY = Price(0.27, 0.40, cache_write=0.35, hours=(Window(8, 16, 0.3, 1.1),))


def test_an_amount() -> None:
    assert worst_case(PLAIN, 2_000, 200) == 2_000 * 270_000 + 200 * 400_000


@pytest.mark.parametrize("price", [PLAIN, TIERED, HOURLY])
@given(
    prompt=st.integers(0, 200_000),
    cached=st.floats(0, 1),
    completion=st.integers(0, 200),
    hour=st.integers(0, 23),
)
def test_no_bill_within_the_limits_is_higher(
    price: Price, prompt: int, cached: float, completion: int, hour: int
) -> None:
    """A host that counts at most a token for each two bytes, and a template of its own."""
    most = worst_case(price, 2 * max(0, prompt - 1_000), 200)
    assert cost(Usage(prompt, int(cached * prompt), completion), price, hour) <= most


def test_the_size_is_of_the_whole_body() -> None:
    body = {"messages": [{"role": "user", "content": "x" * 10_000}], "max_tokens": 1}
    assert worst_case(PLAIN, len(orjson.dumps(body)), 1) > cost(Usage(6_000, 0, 1), PLAIN, 0)
