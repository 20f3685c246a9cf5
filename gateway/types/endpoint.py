"""An endpoint: one model as one provider serves it. The unit of routing, health and price.

All of it is dated configuration (`catalog/`, `gateway.yaml`), because hosts, prices and limits change within days.
`unknown` and `None` are values of their own: nothing is assumed.
"""

from dataclasses import dataclass, field
from typing import Literal

from gateway.types.egress import PemFile, ProxyAddress
from gateway.types.price import Price
from gateway.types.units import Seconds, Share

Status = Literal["active", "uncertain", "retired", "self_hosted"]
Tristate = Literal["yes", "no", "unknown"]
Quantization = Literal[
    "int4", "int8", "fp4", "nvfp4", "mxfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"
]
ThinkingSwitch = Literal[
    "chat_template_args.enable_thinking",
    "chat_template_kwargs.enable_thinking",
    "chat_template_kwargs.enable_thinking|chat_template_kwargs.thinking",
    "chat_template_kwargs.thinking",
    "enable_thinking",
    "enable_thinking|reasoning_effort",
    "model",
    "reasoning.effort",
    "reasoning.enabled",
    "reasoning_effort",
    "thinking.type",
    "unknown",
]
Capability = Literal[
    "tools",
    "tool_choice",
    "parallel_tools",
    "json_object",
    "json_schema",
    "seed",
    "logprobs",
    "logit_bias",
    "tools_with_response_format",
    "strict_tools",
    "prefix",
    "image",
    "audio",
    "video",
    "file",
]
Effort = Literal["minimal", "low", "medium", "high", "xhigh", "max"]
EffortField = Literal["none", "reasoning_effort", "chat_template_kwargs.reasoning_effort"]
Cancel = Literal["stops", "bills", "unknown"]  # whether the host bills the rest of a cancelled answer
Adapter = Literal["none", "litellm"]  # the library that translates for a host without an OpenAI-compatible API


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a host's API differs from OpenAI's, as data, so that a new host needs no code.

    thinking          the request field that switches thinking on and off; the table is in `upstream/dialects.py`
    thinking_default  the host's behaviour without that field
    effort            the field for an effort in addition to the switch; `efforts` are the values that the host knows
    null_usage        chunks contain `"usage": null` or `"tool_calls": null`
    drop              request parameters that the host rejects, and that may be left out
    tools_or_format   the host rejects tools together with a JSON `response_format`
    """

    thinking: ThinkingSwitch = "unknown"
    thinking_default: Literal["on", "off", "unknown"] = "unknown"
    thinking_model: str | None = None
    effort: EffortField = "none"
    efforts: tuple[Effort, ...] = ("low", "medium", "high")
    reasoning_field: Literal["reasoning_content", "reasoning", "unknown"] = "reasoning_content"
    null_usage: bool = False
    drop: tuple[str, ...] = ()
    tools_or_format: bool = False


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """What an adapter needs in addition to address, model and key; none of it is secret."""

    region: str | None = None  # Bedrock: for the signature
    api_version: str | None = None  # Azure
    project: str | None = None  # Vertex
    location: str | None = None  # Vertex


@dataclass(frozen=True, slots=True)
class PromptCache:
    """The host's own prompt cache: whether it is automatic, and for how long a prefix stays after its last use."""

    automatic: bool | None = None
    ttl: Seconds | None = None


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The host's declarations about its use of prompts. A policy that requires one excludes `unknown`."""

    trains: Tristate = "unknown"
    zdr: Tristate = "unknown"
    region: str = "unknown"


@dataclass(frozen=True, slots=True)
class Limits:
    """Published rate limits; None is unknown."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Priors:
    """Published figures of the host's behaviour, the prior for its own measurements."""

    ttft_p50: Seconds | None = None
    ttft_p90: Seconds | None = None
    throughput_p50: float | None = None  # output tokens per second
    tools_ok: Share | None = None
    uptime: Share | None = None
    as_of: str = "unknown"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model at one provider. `id` is OpenRouter's tag (`novita/fp8`)."""

    id: str
    provider: str
    base_url: str | None
    model: str | None
    name: str = ""  # display name of the provider
    status: Status = "active"
    retires: str | None = None
    note: str = ""
    api_key_env: str | None = None
    proxy: ProxyAddress | None = None  # once decoded, with the environment's; None: direct
    ca_file: PemFile | None = None  # authorities that are trusted in addition to the system's
    client_cert: PemFile | None = None
    adapter: Adapter = "none"
    adapter_options: AdapterOptions = field(default_factory=AdapterOptions)
    price: Price | None = None
    context: int = 163_840
    max_input: int | None = None
    max_output: int | None = None
    quantization: Quantization = "unknown"
    supports: tuple[Capability, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)
    cache: PromptCache = field(default_factory=PromptCache)
    cancel: Cancel = "unknown"
    data: DataFacts = field(default_factory=DataFacts)
    limits: Limits = field(default_factory=Limits)
    priors: Priors = field(default_factory=Priors)
    simulated: bool = False  # a host whose answers are invented
