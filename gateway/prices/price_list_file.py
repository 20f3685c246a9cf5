"""A file of prices that a person gives to `gateway prices sync --from FILE`.

*.json    litellm's cost map, for one that is newer than the installed package's
others    YAML, USD per 1M tokens:    novita/fp8: {input: 0.27, cached_input: 0.135, output: 0.41}
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from gateway.document import DocumentReader, Table, nearest, read
from gateway.errors import ConfigError
from gateway.prices.litellm_map import map_in
from gateway.prices.quote import Quote
from gateway.types import Endpoint


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """One line of such a file, USD per 1M tokens."""

    input: float
    output: float
    cached_input: float | None = None


def quotes_in(path: Path, endpoints: Collection[Endpoint]) -> dict[str, Quote]:
    """A quote for each endpoint that the file names, by its id. Raises ConfigError with every problem."""
    if path.suffix == ".json":
        return map_in(path, path.name).quotes(endpoints)
    node, reader = read(path), DocumentReader({})
    prices = reader.read(node, dict[str, ListedPrice])
    ids = {endpoint.id for endpoint in endpoints}
    for name, entry in node.entries.items() if isinstance(node, Table) else ():
        if name not in ids:
            reader.problem(entry.place, f"there is no endpoint `{name}` to give a price to; {nearest(name, ids)}")
    if reader.problems:
        raise ConfigError(*reader.problems)
    return {name: Quote(path.name, price.input, price.output, price.cached_input) for name, price in prices.items()}
