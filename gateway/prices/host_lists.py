"""Hosts' own lists of models, `GET BASE_URL/models`: whether a model is still listed, and its price where it is there.

    each host once ── GET, its key ──> [{"id": ..., prices}] ── PriceForm of its provider ──> Quote
                                                             └─ no such id ──────────────────> unlisted

Hosts are asked side by side.
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.client import HTTPException, HTTPResponse
from time import monotonic
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

from gateway import __version__
from gateway.config import Secrets, why_unusable
from gateway.prices.quote import PER_MILLION, PER_MILLION_IN_10000THS, PER_TOKEN, Path, PriceForm, Quote
from gateway.prices.timed_http import opener
from gateway.types import Endpoint, Price

CONNECT_AND_READ = 10.0  # seconds for each step
ANSWER_WITHIN = 30.0  # seconds for a whole list, its headers included
LARGEST = 8 << 20  # bytes of a list
PIECE = 1 << 16
AT_ONCE = 8  # hosts


def _form(factor: Any, *paths: str, **unit: Any) -> PriceForm:
    """A form by the dotted paths of input, output and cached input."""
    read = [tuple(path.split(".")) for path in paths]
    found: tuple[Path, Path, Path] = (read[0], read[1], read[2])
    return PriceForm(*found, factor, **unit)


# As OpenRouter has it, and asks it of its providers.
_OPENROUTER = _form(PER_TOKEN, "pricing.prompt", "pricing.completion", "pricing.input_cache_read")
# By provider. What others list has no price, or none whose unit is documented.
FORMS = {
    "baseten": _OPENROUTER,
    "chutes": _form(PER_MILLION, "pricing.prompt", "pricing.completion", "pricing.input_cache_read"),
    "cortecs": _form(
        PER_MILLION,
        "pricing.input_token",
        "pricing.output_token",
        "pricing.cache_read_cost",
        unit=("pricing", "currency"),
        units=("USD",),
    ),
    "deepinfra": _form(
        PER_MILLION,
        "metadata.pricing.input_tokens",
        "metadata.pricing.output_tokens",
        "metadata.pricing.cache_read_tokens",
    ),
    "friendli": _form(
        PER_TOKEN,
        "pricing.input",
        "pricing.output",
        "pricing.input_cache_read",
        unit=("pricing", "unit_type"),
        units=(None, "TOKEN"),
    ),
    "nebius": _OPENROUTER,
    "novita": _form(
        PER_MILLION_IN_10000THS,
        "input_token_price_per_m",
        "output_token_price_per_m",
        "cached_input_token_price_per_m",
    ),
    "openrouter": _OPENROUTER,
    "phala": _OPENROUTER,
    "sambanova": _OPENROUTER,
    "venice": _form(
        PER_MILLION,
        "model_spec.pricing.input.usd",
        "model_spec.pricing.output.usd",
        "model_spec.pricing.cache_input.usd",
    ),
}
QUERIES = {"cortecs": "?currency=USD", "nebius": "?verbose=true"}  # without which a list has no price, or other ones


@dataclass(slots=True)
class HostLists:
    """What the hosts' lists say: quotes and listings by endpoint, and a line for each list that could not be read."""

    quotes: dict[str, Quote] = field(default_factory=dict)
    listed: dict[str, bool] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def ask_hosts(endpoints: Iterable[Endpoint], secrets: Secrets) -> HostLists:
    """Asks the hosts of these endpoints that a request could go to, each once."""
    found = HostLists()
    hosts: dict[tuple[str, str], list[Endpoint]] = {}
    for endpoint in endpoints:
        if _may_be_asked(endpoint, secrets):
            key = secrets.get(endpoint.api_key_env or "") or ""
            url = f"{endpoint.base_url}/models{QUERIES.get(endpoint.provider, '')}"
            hosts.setdefault((url, key), []).append(endpoint)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(lambda host: _answer(*host), hosts)
        for own, answer in zip(hosts.values(), answers, strict=True):
            _note(found, own, answer)
    return found


def _may_be_asked(endpoint: Endpoint, secrets: Mapping[str, str]) -> bool:
    priced = replace(endpoint, price=endpoint.price or Price(1.0, 1.0))  # one that lacks only its price is asked, too
    return endpoint.adapter == "none" and why_unusable(priced, secrets) is None


def _note(found: HostLists, endpoints: list[Endpoint], answer: "list[dict[str, Any]] | str") -> None:
    for endpoint in endpoints:
        if isinstance(answer, str):
            found.problems.append(f"{endpoint.id}: {answer}")
            continue
        model = (endpoint.model or "").lower()
        entry = next((one for one in answer if str(one.get("id")).lower() == model), None)
        found.listed[endpoint.id] = entry is not None
        form = FORMS.get(endpoint.provider)
        if entry is not None and form is not None:
            found.quotes[endpoint.id] = form.read(entry, f"{endpoint.provider} /models")


def _answer(url: str, key: str) -> "list[dict[str, Any]] | str":
    """The entries of a host's list, or why there are none."""
    headers = {"accept": "application/json", "user-agent": f"llm-routing-gateway/{__version__}"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    request, began = Request(url, headers=headers), monotonic()
    try:
        with opener(ANSWER_WITHIN).open(request, timeout=CONNECT_AND_READ) as response:
            return _entries(_body(response))
    except HTTPError as error:
        error.close()
        why = f"answered {error.code}"
    except OSError as error:
        why = f"cannot be reached ({getattr(error, 'reason', None) or error})"
    except (ValueError, HTTPException):  # its message may have the key
        why = "answered with something else than a list of models"
    return f"/models {why if monotonic() - began < ANSWER_WITHIN else 'takes too long'}"


def _body(response: HTTPResponse) -> bytes:
    pieces, size = [], 0
    while piece := response.read1(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise OSError("the list is too long")
    return b"".join(pieces)


def _entries(body: bytes) -> list[dict[str, Any]]:
    """Raises ValueError for what is no list of models."""
    try:
        found = json.loads(body)
    except RecursionError:
        raise ValueError from None
    listed = found.get("data") if isinstance(found, dict) else found
    entries = [one for one in listed if isinstance(one, dict) and "id" in one] if isinstance(listed, list) else []
    if not entries:
        raise ValueError
    return entries
