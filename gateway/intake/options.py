"""OpenRouter's options that are about the gateway and not about the model. They hold on every surface.

    body, headers ──read_options──> Options, or a BadRequest that names the field and says what would be right

What is refused would change the answer, and silence about it would mislead: plugins that search or parse, service
tiers. What can have no effect here is taken and ignored.
"""

from collections.abc import Mapping, Set
from typing import Any, Literal, NamedTuple, cast, get_args

from gateway.errors import BadRequest
from gateway.repair.mending import HEALING
from gateway.types import CacheMode
from gateway.types.endpoint import Effort

LONGEST_SESSION = 256  # characters
MOST_MODELS = 16
LONGEST_TTL = 86_400  # seconds
COMPRESSION = "context-compression"
MIDDLE_OUT = "middle-out"
PLUGINS = frozenset({HEALING, COMPRESSION})
ELSEWHERE: Mapping[str, str] = {  # plugins of OpenRouter's -> why they are not here
    "auto-router": "the gateway does not choose between models",
    "file-parser": "the model reads text only: send the text of the file",
    "fusion": "the gateway does not mix answers",
    "moderation": "prompts are not judged here",
    "pareto-router": "the gateway does not choose between models; a policy chooses the endpoint",
    "web": "the gateway does not search: give the model a tool that does",
    "web-fetch": "the gateway does not fetch pages: give the model a tool that does",
}
EFFORTS = (*reversed(get_args(Effort)), "none")
ServiceTier = Literal["auto", "default"]
TIERS: tuple[str, ...] = get_args(ServiceTier)
_TYPED: Mapping[str, tuple[type, str]] = {
    "debug": (dict, "an object"),
    "include_reasoning": (bool, "true or false"),
    "metadata": (dict, "an object"),
    "plugins": (list, "a list of objects with an `id`"),
    "preset": (str, "the name of a policy"),
    "prompt_cache_key": (str, "a text"),
    "reasoning": (dict, "an object"),
    "route": (str, "`fallback` or `sort`"),
    "service_tier": (str, "`auto` or `default`"),
    "session_id": (str, "a text"),
    "trace": (dict, "an object"),
    "transforms": (list, "a list"),
    "usage": (dict, "an object"),
}
OPTION_FIELDS = frozenset(_TYPED)
_ABOUT_APP = (b"x-openrouter-title", b"x-title", b"http-referer")  # by the name it gives itself, else by its address
LONGEST_APP = 200  # characters of an app's name
_CACHE_HEADERS = frozenset(
    {b"x-gateway-cache", b"x-openrouter-cache", b"x-openrouter-cache-clear", b"x-openrouter-cache-ttl"}
)
OPTION_HEADERS = _CACHE_HEADERS.union(
    _ABOUT_APP, {b"x-gateway-explain", b"x-gateway-policy", b"x-openrouter-metadata", b"x-session-id"}
)
_CACHE_MODES = frozenset({"on", "no-store", "refresh"})
_FLAGS = {"true": True, "false": False}
_SERVER_TOOL = "openrouter:"


class Options(NamedTuple):
    """What a request asks of the gateway, beside the answer."""

    session: str = ""
    compress: bool = False
    hides_reasoning: bool = False
    preset: str = ""


class CacheOptions(NamedTuple):
    """`ttl` in seconds; 0 leaves it to the policy."""

    mode: CacheMode = "default"
    ttl: float = 0.0


class HeaderOptions(NamedTuple):
    """What headers alone say: the client's name, the policy, and what the answer shall tell of its way."""

    app: str = ""
    policy: str = ""
    cache: CacheOptions = CacheOptions()
    explain: bool = False
    tells_routing: bool = False


NO_OPTIONS = Options()
NO_HEADERS = HeaderOptions()
_NO_CACHE_OPTIONS = CacheOptions()


def all_options(
    body: Mapping[str, Any], fields: Set[str], headers: Mapping[bytes, bytes]
) -> tuple[Options, HeaderOptions]:
    """Those of the body and those that only headers say; `fields` are those of the body that the gateway reads. Most
    requests have none. Raises BadRequest."""
    has_headers = not OPTION_HEADERS.isdisjoint(headers)
    if not has_headers and OPTION_FIELDS.isdisjoint(fields):
        return NO_OPTIONS, NO_HEADERS
    return read_options(body, headers), read_headers(headers) if has_headers else NO_HEADERS


def read_options(body: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Options:
    """Raises BadRequest."""
    header = text(headers, b"x-session-id")
    given = {name: body[name] for name in OPTION_FIELDS & body.keys() if body[name] is not None}
    for name, value in given.items():
        kind, wanted = _TYPED[name]
        if not isinstance(value, kind):
            raise _wrong(name, f"must be {wanted}")
    _refuse(given)
    plugins = _plugins(given.get("plugins", ()))
    return Options(
        session=_session(given, header),
        compress=_transforms(given.get("transforms", ())) or COMPRESSION in plugins,
        hides_reasoning=_hides_reasoning(given),
        preset=given.get("preset", ""),
    )


def read_cache_options(headers: Mapping[bytes, bytes]) -> CacheOptions:
    """The gateway's own header, or OpenRouter's three. Raises BadRequest."""
    if _CACHE_HEADERS.isdisjoint(headers):
        return _NO_CACHE_OPTIONS
    own = text(headers, b"x-gateway-cache").lower()
    if own and own not in _CACHE_MODES:
        raise BadRequest("x-gateway-cache must be on, no-store or refresh", param="x-gateway-cache")
    wanted = text(headers, b"x-openrouter-cache").lower()
    clears = text(headers, b"x-openrouter-cache-clear").lower()
    ttl = text(headers, b"x-openrouter-cache-ttl")
    on = _flag("x-openrouter-cache", wanted) if wanted else None
    clear = _flag("x-openrouter-cache-clear", clears) if clears else False
    mode = own or ("no-store" if on is False else "refresh" if clear else "on" if on else "default")
    return CacheOptions(cast(CacheMode, mode), _ttl(ttl) if ttl else 0.0)


def read_headers(headers: Mapping[bytes, bytes]) -> HeaderOptions:
    """Raises BadRequest."""
    return HeaderOptions(
        app=next(filter(None, (text(headers, name) for name in _ABOUT_APP)), "")[:LONGEST_APP],
        policy=text(headers, b"x-gateway-policy"),
        cache=read_cache_options(headers),
        explain=_explains(headers),
        tells_routing=text(headers, b"x-openrouter-metadata").lower() == "enabled",  # else no, as at OpenRouter
    )


def asked_models(body: Mapping[str, Any]) -> list[Any]:
    """`model`, and then `models`, in the order in which they may be used. Raises BadRequest."""
    model, others = body.get("model"), body.get("models")
    if not others:
        return [model]
    if not isinstance(others, list) or len(others) > MOST_MODELS or not all(isinstance(one, str) for one in others):
        raise _wrong("models", f"must be a list of at most {MOST_MODELS} names of models")
    return others if model is None else [model, *others]


def refuse_server_tools(tools: Any) -> None:
    """Raises BadRequest for a tool that OpenRouter would run itself."""
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind.startswith(_SERVER_TOOL):
            raise _wrong("tools", f"has `{kind[:60]}`, which OpenRouter runs itself: give a function of your own")


def text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    """UTF-8, which most clients write, else Latin-1, which HTTP once said."""
    value = headers.get(name)
    if not value:
        return ""
    try:
        return value.decode().strip()
    except UnicodeDecodeError:
        return value.decode("latin-1").strip()


def _explains(headers: Mapping[bytes, bytes]) -> bool:
    said = text(headers, b"x-gateway-explain").lower()
    if said not in ("", "on"):
        raise BadRequest("x-gateway-explain must be on, or absent", param="x-gateway-explain")
    return bool(said)


def _refuse(given: Mapping[str, Any]) -> None:
    if given.get("route", "fallback") not in ("fallback", "sort"):
        raise _wrong("route", "must be `fallback` or `sort`")
    if given.get("service_tier", "default") not in TIERS:
        raise _wrong("service_tier", "must be `auto` or `default`: no endpoint here sells tiers")


def _plugins(plugins: Any) -> set[str]:
    """The ids of those that are switched on."""
    found = set()
    for plugin in plugins:
        name = plugin.get("id") if isinstance(plugin, dict) else None
        if not isinstance(name, str):
            raise _wrong("plugins", "must be a list of objects with an `id`")
        if plugin.get("enabled") is False:
            continue
        if name not in PLUGINS:
            why = ELSEWHERE.get(name, "is unknown")
            raise _wrong("plugins", f"has `{name[:60]}`: {why}; there are {', '.join(sorted(PLUGINS))}")
        found.add(name)
    return found


def _transforms(transforms: Any) -> bool:
    for one in transforms:
        if one != MIDDLE_OUT:
            raise _wrong("transforms", f"may hold `{MIDDLE_OUT}` only")
    return bool(transforms)


def _session(given: Mapping[str, Any], header: str) -> str:
    """By the body, the header, or the key for the prompt cache, in this order."""
    for name, value in (
        ("session_id", given.get("session_id")),
        ("x-session-id", header),
        ("prompt_cache_key", given.get("prompt_cache_key")),
    ):
        if value and len(value) > LONGEST_SESSION:
            raise _wrong(name, f"must be at most {LONGEST_SESSION} characters long")
        if value:
            return str(value)
    return ""


def _hides_reasoning(given: Mapping[str, Any]) -> bool:
    """Checks `reasoning`; `thinking_requested` reads from the same fields whether the model shall think."""
    reasoning = given.get("reasoning", {})
    for name in ("enabled", "exclude"):
        if not isinstance(reasoning.get(name) or False, bool):
            raise _wrong(f"reasoning.{name}", "must be true or false")
    effort, most = reasoning.get("effort"), reasoning.get("max_tokens")
    if effort is not None and effort not in EFFORTS:
        raise _wrong("reasoning.effort", f"must be one of {', '.join(EFFORTS)}")
    if most is not None and (whole(most) is None or most < 1):
        raise _wrong("reasoning.max_tokens", "must be a positive whole number")
    if effort is not None and most is not None:
        raise _wrong("reasoning", "may have `effort` or `max_tokens`, not both")
    excluded = reasoning.get("exclude")
    return given.get("include_reasoning") is False if excluded is None else bool(excluded)


def _flag(name: str, said: str) -> bool:
    if said not in _FLAGS:
        raise _wrong(name, "must be true or false")
    return _FLAGS[said]


def whole(value: object) -> int | None:
    """A whole number, also one that is written as `100.0`; None for anything else."""
    if type(value) is int:
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _ttl(said: str) -> float:
    known = said.isascii() and said.isdecimal() and len(said) <= len(str(LONGEST_TTL))
    if not known or not 1 <= int(said) <= LONGEST_TTL:
        raise _wrong("x-openrouter-cache-ttl", f"must be a whole number of seconds from 1 to {LONGEST_TTL}")
    return float(said)


def _wrong(name: str, what: str) -> BadRequest:
    return BadRequest(f"`{name}` {what}", param=name)
