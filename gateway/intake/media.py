"""What a prompt holds besides text: images, audio, video, files, and whether anybody takes them.

An endpoint that takes them declares so, as it declares tools. Where none does, a host would refuse the request in its
own words, each time at the price of two attempts; so it is refused here, with the place of the part.
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
_WORDS = {"audio": "audio", "file": "files", "image": "images", "video": "video"}


def media(messages: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Each kind that is in a content part, with the place of its first part."""
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
    """Raises BadRequest for a kind that none of the model's endpoints takes."""
    for kind, place in found.items():
        if not any(kind in state.endpoint.supports for state in states):
            words = _WORDS[kind]
            raise BadRequest(
                f"`{place}`: no endpoint of {model} takes {words}; leave this part out, or say it in text",
                param=place,
                code="unsupported_content",
            )
