"""Hosts' own lists of models, `GET BASE_URL/models`: whether a model is still listed, and its price where it is there.

    each host once ── GET, its key ──> [{"id": ..., prices}] ── PriceForm of its provider ──> Quote
                                                             └─ no such id ──────────────────> unlisted

Hosts are queried concurrently, over the same transport, proxies and certificates as clients' requests. It does not
follow redirects, which would send the key to another host.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.config import Secrets, why_unusable
from gateway.errors import ConfigError
from gateway.prices.quote import PER_MILLION, PER_MILLION_IN_10000THS, PER_TOKEN, Path, PriceForm, Quote
from gateway.types import Endpoint, Fault, Price
from gateway.upstream.destinations import Trusts, egress_of
from gateway.upstream.transport.address import head_lines, header_safe, locate
from gateway.upstream.transport.pool import Origin
from gateway.upstream.transport.transport import Transport

CONNECT_WITHIN = 10.0  # seconds
ANSWER_WITHIN = 30.0  # seconds for a whole list, its headers included
LARGEST = 8 << 20  # bytes of a list
AT_ONCE = 8  # hosts


def _form(factor: Any, *paths: str, **unit: Any) -> PriceForm:
    """A form by the dotted paths of input, output and cached input."""
    read = [tuple(path.split(".")) for path in paths]
    found: tuple[Path, Path, Path] = (read[0], read[1], read[2])
    return PriceForm(*found, factor, **unit)


# OpenRouter's own form, which it also requires of its providers.
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
    """Asks the hosts of these endpoints that a request could go to, each once. Blocks: for a thread without a loop."""
    found = HostLists()
    hosts: dict[tuple[str, str], list[Endpoint]] = {}  # by base URL and key
    for endpoint in endpoints:
        if _may_be_asked(endpoint, secrets):
            key = secrets.get(endpoint.api_key_env or "") or ""
            url = f"{endpoint.base_url}{QUERIES.get(endpoint.provider, '')}"  # providers behind one URL may differ
            hosts.setdefault((url, key), []).append(endpoint)
    answers = asyncio.run(_answers((own[0], key) for (_, key), own in hosts.items()))
    for own, answer in zip(hosts.values(), answers, strict=True):
        _note(found, own, answer)
    return found


def _may_be_asked(endpoint: Endpoint, secrets: Mapping[str, str]) -> bool:
    priced = replace(endpoint, price=endpoint.price or Price(1.0, 1.0))  # also hosts that lack only a price
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


async def _answers(hosts: Iterable[tuple[Endpoint, str]]) -> "list[list[dict[str, Any]] | str]":
    transport, few, trusts = Transport(), asyncio.Semaphore(AT_ONCE), Trusts()
    try:
        return await asyncio.gather(*(_answer(transport, few, *host, trusts) for host in hosts))
    finally:
        transport.close()
        await asyncio.sleep(0)  # lets the sockets close


async def _answer(
    transport: Transport, few: asyncio.Semaphore, endpoint: Endpoint, key: str, trusts: Trusts
) -> "list[dict[str, Any]] | str":
    """The entries of a host's list, or why there are none."""
    try:
        origin, target = locate(endpoint, egress_of(endpoint, trusts), f"/models{QUERIES.get(endpoint.provider, '')}")
        head = head_lines("GET", origin, target, key and header_safe(key, endpoint))
        async with few, asyncio.timeout(ANSWER_WITHIN):
            status, body = await _fetched(transport, origin, head + b"\r\n")
        return _entries(body) if status == 200 else f"/models answered {status}"
    except TimeoutError:
        return "/models takes too long"
    except (OSError, ConfigError) as error:
        return f"/models cannot be reached ({error})"
    except ValueError:
        return "/models answered with something else than a list of models"


async def _fetched(transport: Transport, origin: Origin, head: bytes) -> tuple[int, bytes]:
    receiver = ListReceiver()
    call = transport.send(origin, head, b"", receiver, CONNECT_WITHIN)
    try:
        return await receiver.answer
    finally:
        call.cancel()


class ListReceiver:
    """Collects the answer of one host: its status and body, or an OSError."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._body = bytearray()

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._status = status

    def on_data(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > LARGEST and not self.answer.done():
            self.answer.set_exception(OSError("the list is too long"))  # which cancels the call

    def on_complete(self) -> None:
        if not self.answer.done():
            self.answer.set_result((self._status, bytes(self._body)))

    def on_lost(self, fault: Fault, message: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(OSError(message))


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
