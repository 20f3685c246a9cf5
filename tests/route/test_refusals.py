"""What was refused is not asked again for ten minutes, and nothing else is kept from the endpoint."""

import pytest

from gateway.route.refusals import MEMORY, MOST, Refusals
from gateway.types import Request
from tests.route.world import request


def with_fields(**body: object) -> Request:
    return request(body={"messages": [], "model": "m", "stream": True, **body})


def test_a_parameter_is_refused_to_requests_that_carry_it() -> None:
    refusals = Refusals()
    refusals.remember("seed", with_fields(seed=1), 0.0)
    assert refusals.against(with_fields(seed=2), 1.0) == "seed"
    assert refusals.against(with_fields(seed=None), 1.0) is None
    assert refusals.against(with_fields(), 1.0) is None


def test_it_is_forgotten_after_ten_minutes() -> None:
    refusals = Refusals()
    refusals.remember("seed", with_fields(seed=1), 0.0)
    assert refusals.against(with_fields(seed=1), MEMORY - 1) == "seed"
    assert refusals.against(with_fields(seed=1), MEMORY) is None


def test_too_long_a_context_is_refused_from_that_size_on() -> None:
    refusals = Refusals()
    refusals.remember("context", request(prompt_tokens=90_000, max_tokens=10_000), 0.0)
    assert refusals.against(request(prompt_tokens=99_999), 1.0) is None
    assert refusals.against(request(prompt_tokens=100_000), 1.0) == "context"
    assert refusals.against(request(prompt_tokens=10, max_tokens=100_000), 1.0) == "context"


def test_too_much_output_is_refused_from_that_size_on() -> None:
    refusals = Refusals()
    refusals.remember("max_tokens", request(max_tokens=70_000), 0.0)
    assert refusals.against(request(max_tokens=8_000), 1.0) is None
    assert refusals.against(request(), 1.0) is None
    assert refusals.against(request(max_tokens=80_000), 1.0) == "max_tokens"


@pytest.mark.parametrize("parameter", ["messages", "model", "stream", "role", "content_filter"])
def test_what_every_request_carries_or_none_is_not_held_against_the_next(parameter: str) -> None:
    refusals = Refusals()
    refusals.remember(parameter, with_fields(), 0.0)
    assert refusals.against(with_fields(), 1.0) is None


def test_only_the_latest_parameters_are_remembered() -> None:
    refusals = Refusals()
    names = [f"p{number}" for number in range(MOST + 1)]
    for name in names:
        refusals.remember(name, with_fields(**{name: 1}), 0.0)
    remembered = [name for name in names if refusals.against(with_fields(**{name: 1}), 1.0)]
    assert remembered == names[1:]
