"""The models: the shipped catalogue, with `models:` of gateway.yaml merged over it."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from gateway.config.about_file import read_about
from gateway.config.adapters import adapter_problem
from gateway.config.egress_fields import pem_problem
from gateway.config.inheritance import check_engines, check_named, with_inherited
from gateway.config.keys import PRINTABLE, names_variable
from gateway.config.proxy_environment import ProxyEnvironment
from gateway.document import INVALID, DocumentReader, Entry, Items, Node, Table, below, merge, place_at, read, text_at
from gateway.types import Endpoint, Model
from gateway.types.egress import DIRECT

CATALOG = Path(__file__).parents[1] / "catalog" / "deepseek-v3.2.yaml"
_FACTS = ("engines", "description", "about")  # of a model, that hold for any host
_ID = re.compile(r"[!-~]+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}(-[0-9]{1,2})?")
_PLACEHOLDER = re.compile(r"\{[^}]*\}")


def usable(model: Model, secrets: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """The endpoints that can be used: not retired, complete, and with an API key where one is required."""
    return tuple(endpoint for endpoint in model.endpoints if why_unusable(endpoint, secrets) is None)


def wanted_variables(models: tuple[Model, ...]) -> tuple[str, ...]:
    """The environment variables with API keys of hosts, each once, without those of retired endpoints."""
    endpoints = [endpoint for model in models for endpoint in model.endpoints if endpoint.status != "retired"]
    return tuple(dict.fromkeys(endpoint.api_key_env for endpoint in endpoints if endpoint.api_key_env))


def sufficient_variables(models: tuple[Model, ...]) -> tuple[str, ...]:
    """Those of `wanted_variables` that suffice to bring an endpoint into use."""
    return tuple(name for name in wanted_variables(models) if any(usable(model, {name: "set"}) for model in models))


def why_unusable(endpoint: Endpoint, secrets: Mapping[str, str]) -> str | None:
    """Why an endpoint cannot be used, or what to do about it; None when it can be used."""
    if endpoint.status == "retired":
        return "retired"
    if endpoint.price is None or not endpoint.model or not endpoint.base_url:
        missing = [name for name in ("base_url", "model", "price") if not getattr(endpoint, name)]
        return f"lacks {', '.join(missing)}"
    if placeholder := _PLACEHOLDER.search(f"{endpoint.base_url} {endpoint.adapter_options.project}"):
        return f"fill in {placeholder[0]}"
    if endpoint.api_key_env and not secrets.get(endpoint.api_key_env):
        return f"set {endpoint.api_key_env}"
    return None


def with_catalogue(document: Node) -> Node:
    """`document` with its `models:` merged over the catalogue's, and the inherited fields of endpoints filled in.

    `catalogue: false` leaves out the shipped endpoints, and the models that the document does not name.
    """
    catalogue = read(CATALOG)
    if not (isinstance(document, Table) and isinstance(catalogue, Table)):
        return document
    shipped, own = catalogue.entries["models"], document.entries.get("models")
    if text_at(document, "catalogue") == "false":
        shipped = Entry(shipped.place, _facts_only(shipped.node, own.node if own else None))
    merged = merge(shipped.node, own.node) if own else shipped.node
    engines = catalogue.entries["engines"].node
    if isinstance(merged, Table) and isinstance(engines, Table):
        merged = with_inherited(merged, engines, below(document, "providers"))
    models = Entry((own or shipped).place, merged)
    return Table(document.place, {**document.entries, "models": models})


def _facts_only(shipped: Node, own: Node | None) -> Table:
    """What the catalogue says about the models that `own` names, whichever hosts serve them."""
    kept = {}
    if isinstance(shipped, Table) and isinstance(own, Table):
        for name, model in shipped.entries.items():
            if name in own.entries and isinstance(model.node, Table):
                facts = {field: entry for field, entry in model.node.entries.items() if field in _FACTS}
                kept[name] = Entry(model.place, Table(model.node.place, facts))
    return Table(shipped.place, kept)


def read_models(reader: DocumentReader, node: Node) -> Any:
    """Every model of the merged table; ids and aliases must be unique."""
    if not isinstance(node, Table):
        return reader.problem(node.place, "models: expected a table; write `author/model: {endpoints: [...]}`")
    models = []
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name, entry in node.entries.items():
        _check_ids(reader, name, entry.node, taken)
        check_engines(reader, entry.node)
        given = {"id": name, "about": read_about(reader, below(entry.node, "about"))}
        model = reader.record(entry.node, Model, given=given, skip=["engines", "about"])
        if model is INVALID:
            continue
        models.append(model)
        for alias in (model.id, *model.aliases):
            if names.setdefault(alias, name) != name:
                reader.problem(entry.place, f"`{alias}` already names {names[alias]}; choose another alias")
    return tuple(models)


def _check_ids(reader: DocumentReader, model: str, node: Node, taken: dict[str, str]) -> None:
    """Checks that ids are unique: metrics, policies and the ledger identify an endpoint by its id alone. `taken` maps
    each id in use to its model."""
    entry = node.entries.get("endpoints") if isinstance(node, Table) else None
    seen: set[str] = set()
    for endpoint in entry.node.nodes if entry and isinstance(entry.node, Items) else ():
        name, place = text_at(endpoint, "id"), place_at(endpoint, "id")
        if name is None:
            continue
        if name in seen:
            reader.problem(place, f"endpoint `{name}` is defined twice; give each its own id")
        elif text_at(endpoint, "status") != "retired" and taken.setdefault(name, model) != model:
            reader.problem(place, f"`{name}` is an endpoint of {taken[name]}; give this one its own id")
        seen.add(name)


def read_endpoint(reader: DocumentReader, node: Node, environ: Mapping[str, str], proxies: ProxyEnvironment) -> Any:
    """One endpoint, its base URL without a trailing slash, its proxy with that of the environment."""
    endpoint = reader.record(check_named(reader, node), Endpoint)
    if endpoint is INVALID or not names_variable(reader, place_at(node, "api_key_env"), endpoint.api_key_env):
        return INVALID
    if not _ID.fullmatch(endpoint.id):  # it is used in headers and metric labels
        return reader.problem(place_at(node, "id"), "id: must be printable ASCII without spaces, as in `novita/fp8`")
    price = endpoint.price
    if price and endpoint.status != "self_hosted" and not (price.input and price.output):
        text = f"{endpoint.id}: a price of 0 would attract all traffic; give the price, or `status: self_hosted`"
        return reader.problem(place_at(node, "price"), text)
    if price and any(max(window.from_hour, window.to_hour) > 24 for window in price.hours):
        reader.problem(place_at(node, "price"), f"{endpoint.id}: an hour is above 24; write hours of the day in UTC")
    for table, name in ((node, "retires"), (below(node, "price"), "as_of"), (below(node, "priors"), "as_of")):
        if table is not None:
            _check_date(reader, table, name)
    if problem := adapter_problem(endpoint):
        return reader.problem(place_at(node, "adapter"), f"{endpoint.id}: {problem}")
    if endpoint.base_url is None:
        return endpoint
    problem = _address_problem(endpoint.base_url)
    if problem:
        return reader.problem(place_at(node, "base_url"), f"{endpoint.id}: base_url {problem}")
    if (endpoint.ca_file or endpoint.client_cert) and (problem := pem_problem(endpoint.ca_file, endpoint.client_cert)):
        return reader.problem(place_at(node, problem.partition(":")[0]), problem)
    return _with_proxy(replace(endpoint, base_url=endpoint.base_url.rstrip("/")), environ, proxies)


def _with_proxy(endpoint: Endpoint, environ: Mapping[str, str], proxies: ProxyEnvironment) -> Endpoint:
    """The endpoint as it is reached: `proxy` is None where it is reached directly."""
    if endpoint.proxy is not None:
        return replace(endpoint, proxy=None if endpoint.proxy == DIRECT else endpoint.proxy)
    sent_nothing = endpoint.base_url is None or "{" in endpoint.base_url or endpoint.simulated
    if sent_nothing or (endpoint.api_key_env and not environ.get(endpoint.api_key_env)):
        return endpoint
    return replace(endpoint, proxy=proxies.proxy_of(endpoint.base_url or ""))


def _check_date(reader: DocumentReader, node: Node, name: str) -> None:
    """Checks that a value that looks like a date is a valid day or month."""
    text = text_at(node, name) or ""
    if not _DATE.fullmatch(text):
        return
    try:
        date.fromisoformat(text if text.count("-") == 2 else f"{text}-01")
    except ValueError:
        reader.problem(place_at(node, name), f"{name}: `{text}` is not a valid date; write it as in `2026-11-29`")


def _address_problem(address: str) -> str | None:
    """The problem of a base URL. The URL is not quoted: it may hold a credential."""
    try:
        url = urlsplit(_PLACEHOLDER.sub("x", address))
    except ValueError:
        return "is not a URL; write https://host/path"
    if url.scheme not in ("http", "https") or not url.hostname:
        return "is not an http(s) URL; write https://host/path"
    if url.username or url.password:
        return "contains a credential; use `api_key_env` instead"
    if not PRINTABLE.fullmatch(address) or not PRINTABLE.fullmatch(url.netloc) or url.fragment:
        return "has a space, a fragment or a character outside ASCII; write https://host/path (a name as xn--...)"
    return None if _port_is_good(url) else "has a port outside 1 to 65535; write https://host:port/path"


def _port_is_good(url: SplitResult) -> bool:
    try:
        return url.port != 0
    except ValueError:
        return False
