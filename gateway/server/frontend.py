"""What client connections need of the configuration in force.

    Frontend of the first configuration ──reload──> Frontend of the next one
                          LiveFrontend.current: replaced as a whole

A request reads it once, with its headers. A response under way does not need it any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp

from gateway.server.request_gate import RequestGate
from gateway.types.sink import Handler, HeadWriter

FRONTEND = "frontend"  # key of the LiveFrontend in the lifespan state


@dataclass(frozen=True, slots=True)
class Frontend:
    """Of one configuration. `hot` has the routes that the HTTP connection serves directly; `app` serves all others."""

    hot: Mapping[bytes, Handler]
    gate: RequestGate
    heading: HeadWriter
    app: ASGIApp


class LiveFrontend:
    """The one place where connections find the frontend in force."""

    __slots__ = ("current",)

    def __init__(self, current: Frontend) -> None:
        self.current = current

    def __repr__(self) -> str:
        return f"<LiveFrontend with {len(self.current.hot)} hot routes>"
