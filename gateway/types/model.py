"""A model: what clients name, what its endpoints take over from it, and who serves it."""

from dataclasses import dataclass, field

from gateway.types.endpoint import Capability, Dialect, Endpoint, Quantization
from gateway.types.reasoning import ReasoningHistory


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How a model thinks: whether it does when the client does not say, and what it reads again of earlier thoughts."""

    default_enabled: bool = False
    history: ReasoningHistory = "interleaved"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that clients may name, and who serves it.

    `context`, `max_output`, `quantization`, `supports` and `dialect` are those of every endpoint that does not say
    otherwise: the endpoints here have taken them over already.
    """

    id: str
    name: str
    context: int
    endpoints: tuple[Endpoint, ...]
    created: int = 0  # unix time; 0 is unknown
    aliases: tuple[str, ...] = ()
    max_output: int | None = None
    quantization: Quantization = "unknown"
    supports: tuple[Capability, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)
    reasoning: Reasoning = field(default_factory=Reasoning)
