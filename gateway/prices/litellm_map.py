"""litellm's cost map: a JSON file inside the package, read without importing the package.

    installed package ── find_spec ──> model_prices_and_context_window_backup.json ──> LitellmMap ──> Quote
    a newer copy of that file, given by its path ────────────────────────────────────────┘

Keys are litellm's names of models, `novita/deepseek/deepseek-v3.2`; prices are USD per token.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway.errors import ConfigError
from gateway.files import content
from gateway.prices.quote import PER_TOKEN, PriceForm, Quote
from gateway.types import Endpoint
from gateway.types.capability_claims import NO_CLAIMS, CapabilityClaims
from gateway.types.endpoint import Capability

FILE = "model_prices_and_context_window_backup.json"
FORM = PriceForm(("input_cost_per_token",), ("output_cost_per_token",), ("cache_read_input_token_cost",), PER_TOKEN)
SUPPORTS: Mapping[str, Capability] = {  # fields that are true where a model has the capability
    "supports_function_calling": "tools",
    "supports_tool_choice": "tool_choice",
    "supports_parallel_function_calling": "parallel_tools",
    "supports_response_schema": "json_schema",
    "supports_vision": "image",
    "supports_audio_input": "audio",
    "supports_video_input": "video",
    "supports_pdf_input": "file",
}
UNEVEN = ("_cost_per_token_above_", "tiered_pricing", "off_peak_pricing")  # parts of the names of fields
# What litellm calls our providers. Others are looked up by the provider's own id.
PROVIDERS = {
    "alibaba": "dashscope",
    "amazon-bedrock": "bedrock",
    "azure": "azure_ai",
    "digitalocean": "gradient_ai",
    "fireworks": "fireworks_ai",
    "friendli": "friendliai",
    "gmicloud": "gmi",
    "google-vertex": "vertex_ai",
    "together": "together_ai",
}


@dataclass(frozen=True, slots=True)
class LitellmMap:
    """Entries by their name in lower case. `source` names the map and its version."""

    source: str
    entries: Mapping[str, Mapping[str, Any]]

    def quotes(self, endpoints: Iterable[Endpoint]) -> dict[str, Quote]:
        """A quote for each endpoint that the map has, by its id."""
        found = ((endpoint.id, self._entry(endpoint)) for endpoint in endpoints)
        return {name: self._quote(entry) for name, entry in found if entry is not None}

    def claims(self, endpoints: Iterable[Endpoint]) -> CapabilityClaims:
        """The capabilities of each endpoint that the map has."""
        found = ((endpoint.id, self._entry(endpoint)) for endpoint in endpoints)
        by_endpoint = {name: _capabilities(one) for name, one in found if one is not None}
        return CapabilityClaims(self.source, frozenset(SUPPORTS.values()), by_endpoint)

    def _quote(self, entry: Mapping[str, Any]) -> Quote:
        ends = str(entry.get("deprecation_date") or "")
        flat = not any(part in name for name in entry for part in UNEVEN)
        return replace(FORM.read(entry, self.source), ends=ends if _is_date(ends) else "", flat=flat)

    def _entry(self, endpoint: Endpoint) -> Mapping[str, Any] | None:
        provider = PROVIDERS.get(endpoint.provider, endpoint.provider)
        model = (endpoint.model or "").lower()
        if region := _region(endpoint):
            return self.entries.get(f"bedrock/{region}/{model.rpartition('/')[2]}")
        if endpoint.adapter == "litellm":
            return self.entries.get(model)
        named = self.entries.get(f"{provider}/{model}")
        if named is not None or provider == "bedrock":
            return named
        plain = self.entries.get(model)
        return plain if plain and plain.get("litellm_provider") == provider else None


def _capabilities(entry: Mapping[str, Any]) -> frozenset[Capability]:
    return frozenset(capability for field, capability in SUPPORTS.items() if entry.get(field) is True)


def package_claims(endpoints: Iterable[Endpoint]) -> CapabilityClaims:
    """What the installed package's map says; nothing without it."""
    try:
        return package_map().claims(endpoints)
    except ConfigError:
        return NO_CLAIMS


def package_map() -> LitellmMap:
    """The map of the installed package. Raises ConfigError."""
    spec = find_spec("litellm")
    try:
        named = f"litellm {version('litellm')}"
    except PackageNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigError(
            "litellm is not installed, so there is no cost map; install the gateway with its dependencies"
        )
    return map_in(Path(spec.origin).parent / FILE, named)


def map_in(path: Path, named: str) -> LitellmMap:
    """The map in a file. Raises ConfigError where the file is no such map, or is cut off."""
    try:
        found = json.loads(content(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give litellm's cost map") from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}:{error.lineno}:{error.colno}: is not JSON ({error.msg}); get the file again"
        ) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: is not JSON in UTF-8; get the file again") from None
    entries = {name.lower(): entry for name, entry in _items(found) if isinstance(entry, dict)}
    if not any("litellm_provider" in entry for entry in entries.values()):
        raise ConfigError(f"{path}: is not litellm's cost map; it has no entry with `litellm_provider`")
    return LitellmMap(named, entries)


def _items(found: object) -> Iterable[tuple[str, object]]:
    return found.items() if isinstance(found, dict) else ()


def _region(endpoint: Endpoint) -> str | None:
    """The region of an endpoint at Bedrock, on which its price depends."""
    if endpoint.adapter_options.region:
        return endpoint.adapter_options.region
    host = (endpoint.base_url or "").partition("//")[2].partition("/")[0]
    name, _, rest = host.partition(".")
    return rest.partition(".")[0] if name.startswith("bedrock-") and "{" not in rest else None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
