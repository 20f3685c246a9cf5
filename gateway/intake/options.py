"""OpenRouter's options for the gateway, not for the model. They are available on every surface.

    body, headers ──read_options──> Options, or a BadRequest with the field and the expected value

Unsupported options that would change the answer are rejected: plugins that search or parse, service
tiers. Options that cannot have an effect here are ignored.
"""

from collections.abc import Mapping, Set
from typing import Any, Literal, NamedTuple, cast, get_args

from gateway.errors import BadRequest
from gateway.repair.tool_call_repair import HEALING
from gateway.types import CacheMode
from gateway.types.endpoint import Effort

LONGEST_SESSION = 256  # characters
MOST_MODELS = 16
LONGEST_TTL = 86_400  # seconds
COMPRESSION = "context-compression"
MIDDLE_OUT = "middle-out"
PLUGINS = frozenset({HEALING, COMPRESSION})
ELSEWHERE: Mapping[str, str] = {  # OpenRouter's other plugins -> why they are not supported
    "auto-router": "the gateway does not choose between models",
    "file-parser": "the model reads text only; send the text of the file",
    "fusion": "the gateway does not combine answers",
    "moderation": "the gateway does not moderate prompts",
    "pareto-router": "the gateway does not choose between models; a policy chooses the endpoint",
    "web": "the gateway does not search; give the model a search tool",
    "web-fetch": "the gateway does not fetch pages; give the model a tool for that",
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
    "prompt_cache_key": (str, "a string"),
    "reasoning": (dict, "an object"),
    "route": (str, "`fallback` or `sort`"),
    "service_tier": (str, "`auto` or `default`"),
    "session_id": (str, "a string"),
    "trace": (dict, "an object"),
    "transforms": (list, "a list"),
    "usage": (dict, "an object"),
}
OPTION_FIELDS = frozenset(_TYPED)
_ABOUT_APP = (b"x-openrouter-title", b"x-title", b"http-referer")  # the app's title, else its URL
LONGEST_APP = 200  # characters of an app's name
CACHE_HEADERS = frozenset(
    {b"x-gateway-cache", b"x-openrouter-cache", b"x-openrouter-cache-clear", b"x-openrouter-cache-ttl"}
)
OPTION_HEADERS = CACHE_HEADERS.union(
    _ABOUT_APP, {b"x-gateway-explain", b"x-gateway-policy", b"x-openrouter-metadata", b"x-session-id"}
)
_CACHE_MODES = frozenset({"on", "no-store", "refresh"})
_FLAGS = {"true": True, "false": False}
_SERVER_TOOL = "openrouter:"


class Options(NamedTuple):
    """Options in the body of a request."""

    session: str = ""
    compress: bool = False
    hides_reasoning: bool = False
    preset: str = ""


class CacheOptions(NamedTuple):
    """`ttl` is in seconds; 0: the policy's."""

    mode: CacheMode = "default"
    ttl: float = 0.0


class HeaderOptions(NamedTuple):
    """Options that only headers have: the app, the policy, the cache, and which routing details to return."""

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
    """The options of the body and of the headers; `fields` are the body's fields that the gateway reads. Most
    requests have none. Raises BadRequest."""
    has_headers = not OPTION_HEADERS.isdisjoint(headers)
    if not has_headers and OPTION_FIELDS.isdisjoint(fields):
        return NO_OPTIONS, NO_HEADERS
    return read_options(body, headers), read_headers(headers) if has_headers else NO_HEADERS


def read_options(body: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Options:
    """Raises BadRequest."""
    header = text(headers, b"x-session-id")
    given = {name: body[name] for name in body.keys() & OPTION_FIELDS if body[name] is not None}
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
    if CACHE_HEADERS.isdisjoint(headers):
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
        tells_routing=text(headers, b"x-openrouter-metadata").lower()
        == "enabled",  # any other value means no, as at OpenRouter
    )


def requested_models(body: Mapping[str, Any]) -> list[Any]:
    """`model`, then `models`, in the order in which to try them. Raises BadRequest."""
    model, others = body.get("model"), body.get("models")
    if not others:
        return [model]
    if not isinstance(others, list) or len(others) > MOST_MODELS or not all(isinstance(one, str) for one in others):
        raise _wrong("models", f"must be a list of at most {MOST_MODELS} model names")
    return others if model is None else [model, *others]


def refuse_server_tools(tools: Any) -> None:
    """Raises BadRequest for a tool that OpenRouter runs on its servers."""
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind.startswith(_SERVER_TOOL):
            raise _wrong(
                "tools", f"has `{kind[:60]}`, which only OpenRouter's servers run; use a function tool instead"
            )


def text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    """The value as UTF-8, which most clients send, else as Latin-1, HTTP's historical encoding."""
    value = headers.get(name)
    if not value:
        return ""
    try:
        return value.decode().strip()
    except UnicodeDecodeError:
        return value.decode("latin-1").strip()


def _explains(headers: Mapping[bytes, bytes]) -> bool:
    value = text(headers, b"x-gateway-explain").lower()
    if value not in ("", "on"):
        raise BadRequest("x-gateway-explain must be on, or absent", param="x-gateway-explain")
    return bool(value)


def _refuse(given: Mapping[str, Any]) -> None:
    if given.get("route", "fallback") not in ("fallback", "sort"):
        raise _wrong("route", "must be `fallback` or `sort`")
    if given.get("service_tier", "default") not in TIERS:
        raise _wrong("service_tier", "must be `auto` or `default`, because no endpoint has service tiers")


def _plugins(plugins: Any) -> set[str]:
    """The ids of the enabled plugins."""
    found = set()
    for plugin in plugins:
        name = plugin.get("id") if isinstance(plugin, dict) else None
        if not isinstance(name, str):
            raise _wrong("plugins", "must be a list of objects with an `id`")
        if plugin.get("enabled") is False:
            continue
        if name not in PLUGINS:
            why = ELSEWHERE.get(name, "is unknown")
            raise _wrong("plugins", f"has `{name[:60]}`: {why}; supported plugins: {', '.join(sorted(PLUGINS))}")
        found.add(name)
    return found


def _transforms(transforms: Any) -> bool:
    for one in transforms:
        if one != MIDDLE_OUT:
            raise _wrong("transforms", f"may only contain `{MIDDLE_OUT}`")
    return bool(transforms)


def _session(given: Mapping[str, Any], header: str) -> str:
    """The session id from the body, the header, or `prompt_cache_key`, in this order."""
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
    """Whether to leave reasoning out of the answer. Validates `reasoning`; `thinking_requested` reads its switch."""
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


def _flag(name: str, value: str) -> bool:
    if value not in _FLAGS:
        raise _wrong(name, "must be true or false")
    return _FLAGS[value]


def whole(value: object) -> int | None:
    """A whole number, also if written as `100.0`; None for anything else."""
    if type(value) is int:
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _ttl(value: str) -> float:
    valid = value.isascii() and value.isdecimal() and len(value) <= len(str(LONGEST_TTL))
    if not valid or not 1 <= int(value) <= LONGEST_TTL:
        raise _wrong("x-openrouter-cache-ttl", f"must be a whole number of seconds from 1 to {LONGEST_TTL}")
    return float(value)


def _wrong(name: str, what: str) -> BadRequest:
    return BadRequest(f"`{name}` {what}", param=name)
