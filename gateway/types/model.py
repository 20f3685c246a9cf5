"""A model: its names, the defaults of its endpoints, and its endpoints."""

from dataclasses import dataclass, field

from gateway.types.endpoint import Capability, Dialect, Endpoint, Quantization
from gateway.types.reasoning import ReasoningHistory

MEDIA: tuple[Capability, ...] = ("image", "file", "audio", "video")  # input besides text, as endpoints declare it


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How a model reasons: whether it does by default, and which earlier reasoning it reads again."""

    default_enabled: bool = False
    history: ReasoningHistory = "interleaved"


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a model, and its answer in Markdown."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What operators say about a model, in Markdown; empty where they say nothing."""

    profile: str = ""
    strengths: str = ""
    limits: str = ""
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A model that clients may name, with its endpoints.

    `context`, `max_output`, `quantization`, `supports` and `dialect` are the defaults of its endpoints; `endpoints`
    have inherited them already.
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
    description: str = ""
    about: ModelProfile = field(default_factory=ModelProfile)

    @property
    def inputs(self) -> list[str]:
        """What a prompt may hold, by the endpoints."""
        takes = {kind for endpoint in self.endpoints for kind in endpoint.supports}
        return ["text", *(kind for kind in MEDIA if kind in takes)]

    @property
    def reasons(self) -> bool:
        """Whether it reasons by default, or can be switched to do so at some endpoint."""
        switched = any(endpoint.dialect.thinking != "unknown" for endpoint in self.endpoints)
        return switched or self.reasoning.default_enabled
