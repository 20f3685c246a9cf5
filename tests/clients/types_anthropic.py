"""Answers on stdin, as `specs.py` gives them, held against the strict types of Anthropic's SDK."""

from anthropic.types import ErrorResponse, Message, ModelInfo, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from types_held import hold

BY_ITSELF = ("ping", "error")  # events that the SDK never reads as messages


def kind(answer):
    _, _, path, _, status, event, payload = answer
    if path == "/models/{claude}":
        return ModelInfo
    if path != "/messages":
        return None
    if status != 200 or payload.get("type") == "error":
        return ErrorResponse
    if event:
        return None if payload.get("type") in BY_ITSELF else (RawMessageStreamEvent, BetaRawMessageStreamEvent)
    return Message, BetaMessage


hold(kind)
