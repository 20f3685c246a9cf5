"""`${NAME}` in gateway.yaml: replaced from the environment in `redis.url` and in every `proxy`, nowhere else."""

import re
from collections.abc import Iterator, Mapping

from gateway.config.keys import VARIABLE
from gateway.document import Items, Node, Table, below, scalars
from gateway.errors import ConfigError

_REFERENCE = re.compile(rf"\$\{{({VARIABLE.pattern})\}}")


def replaced(text: str, environ: Mapping[str, str]) -> str:
    """Raises ConfigError where a variable is not set. Values are inserted as they are."""
    unset = [name for name in _REFERENCE.findall(text) if not environ.get(name)]
    if unset:
        raise ConfigError(f"{unset[0]} is not set; set it, or write it out")
    return _REFERENCE.sub(lambda match: environ[match[1]], text)


def unreplaced(document: Node) -> Iterator[str]:
    """A line for each `${NAME}` in a field where it is not replaced."""
    allowed = {id(node) for node in _with_references(document)}
    for one in scalars(document):
        if id(one) not in allowed and (found := _REFERENCE.search(one.text)):
            yield f"{one.place}: `{found[0]}` is replaced only in redis.url and proxy; write the value itself"


def _with_references(document: Node) -> Iterator[Node | None]:
    yield below(below(document, "redis") or document, "url")
    for provider in _values(below(document, "providers")):
        yield below(provider, "proxy")
    for model in _values(below(document, "models")):
        endpoints = below(model, "endpoints")
        for endpoint in endpoints.nodes if isinstance(endpoints, Items) else ():
            yield below(endpoint, "proxy")


def _values(table: Node | None) -> list[Node]:
    return [entry.node for entry in table.entries.values()] if isinstance(table, Table) else []
