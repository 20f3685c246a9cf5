"""CORS headers: which origins get which, and what a preflight may ask for."""

import pytest

from gateway.api.cors import EXPOSED, Cors
from gateway.types.sink import Headers

APP = b"https://chat.example"
ASKS = {b"access-control-request-method": b"POST"}
VARY = (b"vary", b"origin")


def allowed(headers: Headers | None) -> bytes | None:
    return dict(headers or []).get(b"access-control-allow-origin")


@pytest.mark.parametrize(
    ("origins", "origin", "answer"),
    [
        (("https://chat.example",), APP, APP),
        (("https://Chat.Example",), APP, APP),
        (("https://chat.example",), b"https://CHAT.example", b"https://CHAT.example"),
        (("https://other.example", "https://chat.example"), APP, APP),
        (("https://chat.example",), b"https://chat.example.evil", None),
        (("https://chat.example",), b"null", None),
        (("https://chat.example",), None, None),
        (("*",), APP, b"*"),
        (("*", "https://chat.example"), APP, b"*"),
        (("*",), None, None),
        ((), APP, None),
    ],
)
def test_an_origin_is_allowed_as_the_setting_says(
    origins: tuple[str, ...], origin: bytes | None, answer: bytes | None
) -> None:
    cors = Cors(origins)
    request = {} if origin is None else {b"origin": origin}
    headers = cors.headers(request)
    assert allowed(headers) == allowed(cors.preflight(request | ASKS)) == answer
    assert ((b"access-control-expose-headers", ", ".join(EXPOSED).encode()) in headers) == (answer is not None)
    assert bool(cors) == bool(origins)


@pytest.mark.parametrize(("origins", "varies"), [(("https://chat.example",), True), (("*",), False)])
@pytest.mark.parametrize("origin", [APP, b"https://evil.example"])
def test_a_vary_is_sent_where_the_answer_depends_on_the_origin(
    origins: tuple[str, ...], varies: bool, origin: bytes
) -> None:
    """Also where the origin is refused: else a cache would return that answer to an origin that is allowed."""
    assert (VARY in Cors(origins).headers({b"origin": origin})) == varies


def test_a_preflight_gets_the_methods_and_the_headers_that_it_asks_for() -> None:
    cors = Cors(("https://chat.example",))
    request = {b"origin": APP, **ASKS}
    expected = [
        VARY,
        (b"access-control-allow-origin", APP),
        (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
        (b"access-control-allow-headers", b"authorization"),
        (b"access-control-max-age", b"7200"),
    ]
    assert cors.preflight(request) == expected
    expected[3] = (b"access-control-allow-headers", b"x-api-key")
    assert cors.preflight(request | {b"access-control-request-headers": b"x-api-key"}) == expected


def test_an_options_request_without_a_method_is_no_preflight() -> None:
    assert Cors(("*",)).preflight({b"origin": APP}) is None
    assert Cors(("https://other.example",)).preflight({b"origin": APP, **ASKS}) is None
