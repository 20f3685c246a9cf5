"""Which names a gateway may be called by, and which web pages may call it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.host_check import NO_HTTP, Authority

Pairs = list[tuple[bytes, bytes]]
EVIL = b"evil.example"


def authority(
    host: str = "127.0.0.1", *, allowed: tuple[str, ...] = (), origins: tuple[str, ...] = (), keys: bool = False
) -> Authority:
    return Authority(host, allowed, origins, keys)


def refused(rules: Authority, headers: Pairs, method: bytes = b"POST", target: bytes = b"/v1/chat/completions") -> str:
    """The code of the refusal, twice the same: the second time it may be remembered. Empty where it is taken."""
    found = [rules.refusal(method, target, headers, dict(headers)) for _ in range(2)]
    assert str(found[0]) == str(found[1])
    if found[0] is None:
        return ""
    assert found[0].status == (400 if found[0].code == NO_HTTP else 403)
    return str(found[0].code)


LOOPBACK = [b"127.0.0.1", b"127.0.0.1:8080", b"127.8.9.1:80", b"localhost", b"LocalHost:3000", b"app.localhost:8080"]
LOOPBACK += [b"localhost.", b"[::1]", b"[::1]:8080", b"[::ffff:127.0.0.1]:8080", b"[0:0:0:0:0:0:0:1]", b" localhost "]
FOREIGN = [EVIL, b"evil.example:8080", b"127.0.0.1.evil.example", b"localhost.evil.example", b"evillocalhost"]
FOREIGN += [b"10.0.0.5", b"169.254.169.254", b"0.0.0.0:8080", b"[2001:db8::1]:8080", b"128.0.0.1", b"[::2]", b""]
FOREIGN += [b"2130706433", b"0x7f.1", b"my_gateway", b"%6cocalhost", b"[fe80::1%25lo]"]
NO_NAMES = [b"localhost@evil.example", b"localhost:8080@evil.example", b"evil.example/localhost", b"localhost, evil"]
NO_NAMES += [
    b"localhost#.evil.example",
    b"127.0.0.1:80:80",
    b"local host",
    b"\xffhost",
    b"localhost\xa0",
    b":80",
    b"::1",
]
NO_NAMES += [
    b"http://localhost",
    b"localhost:http",
    b"localhost:123456",
    b"[::1",
    b"localhost\\evil",
    b"[]",
    b'"localhost"',
]


@pytest.mark.parametrize("name", LOOPBACK)
def test_without_keys_loopback_names_are_taken(name: bytes) -> None:
    assert not refused(authority(), [(b"host", name)])


@pytest.mark.parametrize("name", FOREIGN)
def test_without_keys_other_names_are_not(name: bytes) -> None:
    assert refused(authority(), [(b"host", name)]) == "host_not_allowed"


@given(st.binary(max_size=40))
def test_any_bytes_are_a_name_or_none(name: bytes) -> None:
    assert refused(authority(), [(b"host", name)]) in ("", "host_not_allowed", NO_HTTP)


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_refused_with_keys_and_without(name: bytes, keys: bool) -> None:
    rules = authority(keys=keys)
    assert refused(rules, [(b"host", name)]) == NO_HTTP
    assert not refused(rules, [(b"host", b"localhost")])


@pytest.mark.parametrize("name", [*LOOPBACK, *FOREIGN, b"h\xc3\xb6st.example".decode().encode("idna"), b"10.0.0.5:"])
def test_with_keys_every_name_is_taken(name: bytes) -> None:
    assert not refused(authority(keys=True), [(b"host", name)])


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize(
    "names", [(EVIL, b"localhost"), (b"localhost", EVIL), (b"localhost", b"localhost"), (b"localhost", b"")]
)
def test_of_several_names_none_counts(names: tuple[bytes, ...], keys: bool) -> None:
    rules = authority(keys=keys)
    assert not refused(rules, [(b"host", b"localhost")])
    assert refused(rules, [(b"host", name) for name in names]) == NO_HTTP
    rules_of_1_0 = rules.refusal(b"GET", b"/", [(b"host", name) for name in names], {}, needs_host=False)
    assert rules_of_1_0 is not None
    assert rules_of_1_0.status == 400


def test_a_target_that_was_taken_makes_no_name_known() -> None:
    rules = authority(keys=True)
    headers = [(b"host", b"localhost")]
    assert not refused(rules, headers, target=b"http://a@localhost/v1/models")
    assert refused(rules, [(b"host", b"a@localhost")]) == NO_HTTP


@pytest.mark.parametrize("target", [b"http://evil.example/v1", b"HTTP://evil.example", b"https://a@localhost/v1"])
def test_the_name_in_the_target_counts_too(target: bytes) -> None:
    rules = authority()
    assert not refused(rules, [(b"host", b"localhost")], target=b"http://localhost:8080/v1/models")
    assert refused(rules, [(b"host", b"localhost")], target=target)


@pytest.mark.parametrize("keys", [True, False])
def test_only_http_1_0_may_leave_out_the_name(keys: bool) -> None:
    """Who does is no browser."""
    rules = authority(keys=keys)
    assert refused(rules, []) == NO_HTTP
    assert refused(rules, [(b"user-agent", b"a"), (b"accept", b"b"), (b"accept", b"c")]) == NO_HTTP
    assert rules.refusal(b"GET", b"/", [], {}, needs_host=False) is None


@pytest.mark.parametrize("host", ["gateway.lan", "10.0.0.5", "2001:db8::1"])
def test_the_configured_host_is_taken(host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    assert not refused(authority(host), [(b"host", f"{shown}:8080".upper().encode())])
    assert refused(authority(host), [(b"host", EVIL)])
    assert refused(authority(host), [(b"host", b"10.0.0.6")])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_gateway_on_all_addresses_may_be_called_by_any_address_and_no_other_name(host: str) -> None:
    for name in (b"10.0.0.5:8080", b"[2001:db8::1]:8080", b"localhost"):
        assert not refused(authority(host), [(b"host", name)])
    for name in (EVIL, b"gateway", b"gateway.default.svc.cluster.local"):
        assert refused(authority(host), [(b"host", name)])


@pytest.mark.parametrize(
    ("allowed", "name", "taken"),
    [
        ("gateway", b"gateway:8080", True),
        ("Gateway.Lan", b"gateway.lan.", True),
        ("*.lan", b"a.b.lan", True),
        ("*.lan", b"lan", False),
        ("*.lan", b"evillan", False),
        ("10.0.0.5", b"10.0.0.5:1", True),
        ("[2001:db8::1]", b"[2001:DB8::1]:1", True),
        ("*", EVIL, True),
        ("gateway", EVIL, False),
    ],
)
@pytest.mark.parametrize("keys", [True, False])
def test_further_names(allowed: str, name: bytes, taken: bool, keys: bool) -> None:
    rules = authority(allowed=(allowed,), keys=keys)
    assert (not refused(rules, [(b"host", name)])) == taken


def test_with_keys_and_further_names_probes_by_address_are_taken_still() -> None:
    rules = authority("0.0.0.0", allowed=("llm.example",), keys=True)
    assert not refused(rules, [(b"host", b"10.0.0.5:8080")])
    assert not refused(rules, [(b"host", b"localhost")])


def test_with_keys_any_name_and_any_page_will_do() -> None:
    rules = authority(keys=True)
    assert not refused(rules, [(b"host", EVIL), (b"origin", b"https://evil.example")])


HOST = (b"host", b"localhost:8080")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", b"http://localhost:8080")],
        [(b"origin", b"HTTP://LOCALHOST:8080")],
        [(b"sec-fetch-site", b"same-origin")],
        [(b"sec-fetch-site", b"none")],
        [(b"origin", b"http://localhost:8080"), (b"sec-fetch-site", b"same-origin")],
        [(b"origin", b"https://chat.example"), (b"sec-fetch-site", b"cross-site")],  # as listed
        [(b"referer", b"https://evil.example/")],  # a link in a mail
    ],
)
def test_pages_that_may(headers: Pairs) -> None:
    assert not refused(authority(origins=("https://Chat.example",)), [HOST, *headers])


@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", b"https://evil.example")],
        [(b"origin", b"null")],
        [(b"origin", b"")],
        [(b"origin", b"http://localhost")],  # another port: another page
        [(b"origin", b"http://localhost:3000")],
        [(b"origin", b"http://127.0.0.1:8080")],
        [(b"origin", b"https://localhost:8080.evil.example")],
        [(b"origin", b"http://localhost:8080"), (b"origin", b"https://evil.example")],
        [(b"origin", b"https://evil.example"), (b"origin", b"http://localhost:8080")],
        [(b"origin", b"https://chat.example.evil.example")],
        [(b"origin", b"chrome-extension://abc")],
        [(b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-site")],
        [(b"sec-fetch-site", b"Cross-Site ")],
        [(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"same-origin")],
        [(b"origin", b"http://localhost:8080"), (b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"iframe")],
        [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"no-cors"), (b"sec-fetch-dest", b"image")],
    ],
)
def test_pages_that_may_not(headers: Pairs, method: bytes) -> None:
    rules = authority(origins=("https://chat.example",))
    assert not refused(rules, [HOST])
    assert refused(rules, [HOST, *headers], method) == "origin_not_allowed"


def test_a_link_may_be_followed_and_a_form_may_not_be_sent() -> None:
    visit = [
        HOST,
        (b"sec-fetch-site", b"cross-site"),
        (b"sec-fetch-mode", b"navigate"),
        (b"sec-fetch-dest", b"document"),
    ]
    assert not refused(authority(), visit, b"GET", b"/")
    assert refused(authority(), visit, b"POST") == "origin_not_allowed"


def test_all_pages_where_the_operator_says_so() -> None:
    assert not refused(authority(origins=("*",)), [HOST, (b"origin", b"https://evil.example")])


@pytest.mark.parametrize(
    ("host", "origin"), [(b"llm.example", b"https://llm.example"), (b"llm.example:443", b"https://llm.example")]
)
def test_tls_may_end_in_front(host: bytes, origin: bytes) -> None:
    rules = authority(allowed=("llm.example",))
    assert not refused(rules, [(b"host", host), (b"origin", origin)])


def test_a_name_that_was_taken_does_not_open_the_door_to_pages() -> None:
    rules = authority()
    for _ in range(3):
        assert not refused(rules, [HOST])
        assert refused(rules, [HOST, (b"origin", b"null")])


def test_few_names_are_remembered() -> None:
    rules = authority()
    for port in range(1_000):
        assert not refused(rules, [(b"host", b"localhost:%d" % port)])
    assert len(rules._known) < 100
