import string
from contextlib import suppress
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import parse_url

from gateway.config.store_address import StoreAddress
from gateway.errors import ConfigError

WORDS = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and text.strip() == text)
LABELS = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=63)
HOSTS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=3).map(".".join), st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)
)
PATHS = st.lists(WORDS.map(lambda word: word.replace("/", "")).filter(bool), min_size=1, max_size=3)
LOGINS = {"user": st.just("") | WORDS, "password": st.just("") | WORDS, "database": st.integers(0, 999)}
SERVERS = st.builds(
    StoreAddress,
    scheme=st.sampled_from(["redis", "rediss"]),
    host=HOSTS,
    port=st.integers(1, 65535),
    **LOGINS,
)
SOCKETS = st.builds(StoreAddress, scheme=st.just("unix"), path=PATHS.map(lambda parts: "/" + "/".join(parts)), **LOGINS)


def place(address: StoreAddress, login: str = "") -> str:
    """The URL up to its database."""
    if address.scheme == "unix":
        return f"unix://{login}{quote(address.path)}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{address.scheme}://{login}{host}:{address.port}"


def url(address: StoreAddress) -> str:
    user, password = quote(address.user, safe=""), quote(address.password, safe="")
    login = f"{user}:{password}@" if user or password else ""
    return place(address, login) + ("?db=" if address.scheme == "unix" else "/") + str(address.database)


@given(SERVERS | SOCKETS)
def test_an_address_survives_its_url(address: StoreAddress) -> None:
    assert StoreAddress.parse(url(address)) == address


@given(SERVERS | SOCKETS)
def test_login_and_database_may_be_options(address: StoreAddress) -> None:
    options = {"db": address.database, "username": address.user, "password": address.password}
    assert StoreAddress.parse(f"{place(address)}?{urlencode(options)}") == address


@given(SERVERS | SOCKETS)
def test_redis_py_reads_the_same(address: StoreAddress) -> None:
    read = parse_url(url(address))
    assert read.get("host", "") == address.host
    assert read.get("path", "") == address.path
    assert read.get("port", 6379) == address.port
    assert (read.get("username") or "", read.get("password") or "") == (address.user, address.password)
    assert int(read.get("db", 0)) == address.database


@given(st.text() | st.text().map("redis://".__add__) | st.text("redis:/@[]?#&=%.0a1\0 é", max_size=30))
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert StoreAddress.parse(text).scheme in ("redis", "rediss", "unix")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("redis://", StoreAddress("redis", "localhost")),
        ("redis://host", StoreAddress("redis", "host")),
        ("redis://HOST:1/", StoreAddress("redis", "host", 1)),
        ("redis://:p%40ss@host/3", StoreAddress("redis", "host", password="p@ss", database=3)),
        ("redis://user@host", StoreAddress("redis", "host", user="user")),
        ("redis://[::1]:7/1", StoreAddress("redis", "::1", 7, database=1)),
        ("redis://host/1?db=2", StoreAddress("redis", "host", database=2)),
        ("rediss://host?ssl_ca_certs=/a.pem", StoreAddress("rediss", "host", certificates="/a.pem")),
        ("unix:///run/a%20b.sock?db=2", StoreAddress("unix", path="/run/a b.sock", database=2)),
        ("unix://user:secret@/run/s.sock", StoreAddress("unix", path="/run/s.sock", user="user", password="secret")),
    ],
)
def test_what_a_url_means(written: str, meant: StoreAddress) -> None:
    assert StoreAddress.parse(written) == meant


@pytest.mark.parametrize(
    "secret_in",
    [
        "http://:s3cr3t@host",
        "redis://:s3cr3t/x@host:6379",
        "redis://:12/s3cr3t@host:6379",
        "redis://host/s3cr3t",
        "redis://:s3cr3t#x@host",
        "redis://:s3cr3t@ho st",
        "redis://:s3cr3t@host:99999",
        "redis://:s3cr3t%FF@host",
        "redis://host?s3cr3t@host",
        "redis://host?db=s3cr3t",
        "redis://host?socket_timeout=5&password=s3cr3t",
        "redis://host?ssl_ca_certs=s3cr3t",
        "unix://s3cr3t/run/s.sock",
        "unix://:12/s3cr3t@/run/s.sock",
        "unix://:s3cr3t@",
        "unix://s3cr3t",
    ],
)
def test_what_cannot_be_read_is_an_error_that_repeats_nothing(secret_in: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        StoreAddress.parse(secret_in)
    assert "s3cr3t" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@given(SERVERS | SOCKETS)
def test_what_is_shown_holds_no_login(address: StoreAddress) -> None:
    marked = StoreAddress(**{name: getattr(address, name) for name in ("scheme", "host", "port", "path", "database")})
    assert str(address) == str(marked)
    assert repr(address) == repr(marked)
