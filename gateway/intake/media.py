"""Media in a prompt: images, audio, video, files, and whether an endpoint supports them.

Endpoints declare support for media as they do for tools. If none does, the request is rejected here, with the place of
the part: hosts would reject it, too, after two attempts.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gateway.errors import BadRequest
from gateway.route.endpoint_state import EndpointState

KINDS = {
    "file": "file",
    "image": "image",
    "image_url": "image",
    "input_audio": "audio",
    "input_file": "file",
    "input_image": "image",
    "input_video": "video",
    "video_url": "video",
}  # type of a content part -> the capability that it needs
_NONE: Mapping[str, str] = {}
_PLURALS = {"audio": "audio", "file": "files", "image": "images", "video": "video"}


def media(messages: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Each kind of media in the messages, with the path of its first part."""
    in_parts = [at for at, message in enumerate(messages) if type(message.get("content")) is list]
    if not in_parts:
        return _NONE
    found: dict[str, str] = {}
    for at in in_parts:
        for place, part in enumerate(messages[at]["content"]):
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind in KINDS:
                found.setdefault(KINDS[kind], f"messages[{at}].content[{place}]")
    return found


def refuse_media(found: Mapping[str, str], states: Collection[EndpointState], model: str) -> None:
    """Raises BadRequest for a kind that no endpoint of the model supports."""
    for kind, place in found.items():
        if not any(kind in state.endpoint.supports for state in states):
            plural = _PLURALS[kind]
            raise BadRequest(
                f"`{place}`: no endpoint of {model} supports {plural}; leave this part out, or describe it in text",
                param=place,
                code="unsupported_content",
            )
