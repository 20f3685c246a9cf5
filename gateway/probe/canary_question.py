"""A question whose answer code can check.

Canary.ask(chance, endpoint) ──> CanaryQuestion ── body ──> host ──> ProbeAnswer ── check ──> a mistake, or None
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from gateway.types import Endpoint

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What came back. `calls`: the name and the arguments (JSON text) of each tool call; `refused`: the host's words
    where it refused the prompt as too long."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class CanaryQuestion:
    """`body` is a chat completion request without model; `check` returns the mistake in an answer, None if there is
    none."""

    body: Json
    check: Callable[[ProbeAnswer], str | None]


@dataclass(frozen=True, slots=True)
class Canary:
    """A kind of question. `ask` draws a question at random, or returns None where the endpoint cannot answer it.
    `every`: it is part of each round of that number; `tools`: a mistake is a bad tool call."""

    name: str
    ask: Callable[[Random, Endpoint], CanaryQuestion | None]
    every: int = 1
    tools: bool = False
