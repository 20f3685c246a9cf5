"""Recorded forms of what sources publish, and settings with hosts that publish them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from gateway.config import Settings, load
from tests.support.gateway import MODEL

NOW = 1_795_000_000.0  # 2026-11-18
GOOD = {"litellm_provider": "novita", "input_cost_per_token": 2.7e-07, "output_cost_per_token": 4.1e-07}

# Entries as in the maps of litellm 1.106 and 1.110, by what is wrong with them.
ENTRIES: dict[str, dict[str, Any]] = {
    "same": {**GOOD, "input_cost_per_token": 2.5e-07, "output_cost_per_token": 5e-07},
    "changed": {**GOOD, "cache_read_input_token_cost": 1.35e-07},
    "as-text": {**GOOD, "input_cost_per_token": "2.7e-07"},
    "zero": {**GOOD, "input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
    "no-price": {"litellm_provider": "novita", "mode": "chat"},
    "null": {**GOOD, "output_cost_per_token": None},
    "another-version": {"litellm_provider": "novita", "input_cost_per_million_tokens": 0.27},
    "per-million": {**GOOD, "input_cost_per_token": 0.27, "output_cost_per_token": 0.41},
    "per-thousand": {**GOOD, "input_cost_per_token": 2.7e-04, "output_cost_per_token": 4.1e-04},
    "fell": {**GOOD, "input_cost_per_token": 1e-07},
    "NaN": {**GOOD, "input_cost_per_token": float("nan")},
    "infinite": {**GOOD, "output_cost_per_token": float("inf")},
    "negative": {**GOOD, "input_cost_per_token": -1},
    "true": {**GOOD, "input_cost_per_token": True},
    "a-list": {**GOOD, "input_cost_per_token": [2.7e-07]},
    "tiers": {**GOOD, "input_cost_per_token_above_128k_tokens": 5e-07},
    "ends": {**GOOD, "deprecation_date": "2027-11-01"},
    "ended": {**GOOD, "deprecation_date": "2026-10-21"},
    "no-date": {**GOOD, "deprecation_date": "soon"},
    "cached-above-input": {**GOOD, "cache_read_input_token_cost": 4e-07},
    "cached-per-token-twice": {**GOOD, "cache_read_input_token_cost": 1.35e-13},
}


def litellm_map(folder: Path, **entries: Mapping[str, Any]) -> Path:
    """A map as litellm ships it, with these entries of Novita beside others."""
    whole = {
        "sample_spec": {"deprecation_date": "date when the model becomes deprecated", "input_cost_per_token": 0.0},
        "deepinfra/other": {"litellm_provider": "deepinfra", "input_cost_per_token": 1e-06},
        **{f"novita/{name}": entry for name, entry in entries.items()},
    }
    path = folder / "map.json"
    path.write_text(json.dumps(whole))
    return path


def endpoint(name: str, **fields: Any) -> dict[str, Any]:
    """An endpoint of Novita whose model has the name of the entry above."""
    price = {"input": 0.25, "cached_input": 0.125, "output": 0.5}
    common = {"provider": "novita", "base_url": "http://127.0.0.1:1/v1", "model": name, "price": price}
    return {"id": name, **common, **fields}


def catalogued(folder: Path, *endpoints: Mapping[str, Any], **settings: Any) -> Settings:
    """Settings in which these endpoints' prices count as the catalogue's. The book is in `folder`."""
    models = {"deepseek/deepseek-v3.2": {"endpoints": list(endpoints), **MODEL}}
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump({"catalogue": False, "models": models, "state": "state", **settings}))
    return replace(load(path, {}), own_prices=frozenset())
