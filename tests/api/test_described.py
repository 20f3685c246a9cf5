from gateway.api.described import described_model
from gateway.types import Endpoint, Model, Price
from gateway.types.endpoint import Tier, Window


def test_prices_that_depend() -> None:
    price = Price(0.28, 0.42, tiers=(Tier(32_768, 0.56, 0.84, 0.056),), hours=(Window(16, 0, 0.14, 0.21),))
    endpoint = Endpoint("a/b", "a", "http://a", "m", price=price)
    model = described_model(Model("x/y", "Y", 1_000, 1, ("y",), (endpoint,)), [endpoint])
    assert model["pricing"]["overrides"] == [
        {"utc_start": 1600, "utc_end": 0, "prompt": "0.00000014", "completion": "0.00000021"},
        {
            "min_prompt_tokens": 32_768,
            "prompt": "0.00000056",
            "completion": "0.00000084",
            "input_cache_read": "0.000000056",
        },
    ]


def test_a_model_that_nobody_serves_has_no_price() -> None:
    model = described_model(Model("x/y", "Y", 1_000, 1, (), ()), [])
    assert model["pricing"] == {"prompt": "-1", "completion": "-1"}
    assert model["top_provider"]["context_length"] is None
