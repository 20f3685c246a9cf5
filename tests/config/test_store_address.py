import string
from contextlib import suppress
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import parse_url

from gateway.config.store_address import PORTS, SCHEMES, Host, StoreAddress
from gateway.errors import ConfigError

WORDS = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and text.strip() == text)
LABELS = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=63)
NAMES = st.one_of(
    st.lists(LABELS, min_size=1, max_size=3).map(".".join), st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)
)
HOSTS = st.builds(Host, NAMES, st.integers(1, 65535))
SEVERAL = st.lists(HOSTS, min_size=1, max_size=5).map(tuple)
PATHS = st.lists(WORDS.map(lambda word: word.replace("/", "")).filter(bool), min_size=1, max_size=3)
WORD = st.just("") | WORDS
LOGINS = {"user": WORD, "password": WORD}
DATABASES = {"database": st.integers(0, 999)}
SERVERS = st.builds(StoreAddress, st.just("one"), HOSTS.map(lambda one: (one,)), st.booleans(), **LOGINS, **DATABASES)
SOCKETS = st.builds(
    StoreAddress, st.just("unix"), path=PATHS.map(lambda parts: "/" + "/".join(parts)), **LOGINS, **DATABASES
)
SENTINELS = st.builds(
    StoreAddress,
    st.just("sentinel"),
    SEVERAL,
    st.booleans(),
    master=st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=20),
    sentinel_user=WORD,
    sentinel_password=WORD,
    **LOGINS,
    **DATABASES,
)
CLUSTERS = st.builds(StoreAddress, st.just("cluster"), SEVERAL, st.booleans(), **LOGINS)
ADDRESSES = SERVERS | SOCKETS | SENTINELS | CLUSTERS


def place(address: StoreAddress, login: str = "") -> str:
    """The URL up to its database."""
    if address.kind == "unix":
        return f"unix://{login}{quote(address.path)}"
    scheme = next(name for name, meant in SCHEMES.items() if meant == (address.kind, address.tls))
    return f"{scheme}://{login}{','.join(map(str, address.hosts))}" + (f"/{address.master}" if address.master else "")


def url(address: StoreAddress) -> str:
    user, password = quote(address.user, safe=""), quote(address.password, safe="")
    login = f"{user}:{password}@" if user or password else ""
    sentinels = {"sentinel_username": address.sentinel_user, "sentinel_password": address.sentinel_password}
    if address.kind == "unix":
        return f"{place(address, login)}?db={address.database}"
    options = f"?{urlencode(sentinels)}" if address.kind == "sentinel" else ""
    return f"{place(address, login)}/{address.database}{options}"


@given(ADDRESSES)
def test_an_address_survives_its_url(address: StoreAddress) -> None:
    assert StoreAddress.parse(url(address)) == address


@given(SERVERS | SOCKETS | CLUSTERS)
def test_login_and_database_may_be_options(address: StoreAddress) -> None:
    options = {"db": address.database, "username": address.user, "password": address.password}
    assert StoreAddress.parse(f"{place(address)}?{urlencode(options)}") == address


@given(SERVERS | SOCKETS)
def test_redis_py_reads_the_same(address: StoreAddress) -> None:
    read = parse_url(url(address))
    host = address.hosts[0] if address.hosts else Host("", 6379)
    assert (read.get("host", ""), read.get("port", 6379)) == host
    assert read.get("path", "") == address.path
    assert (read.get("username") or "", read.get("password") or "") == (address.user, address.password)
    assert int(read.get("db", 0)) == address.database


@given(st.text() | st.text().map("redis+sentinel://".__add__) | st.text("redis:/@[]?#&=%.,0a1\0 é", max_size=30))
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert StoreAddress.parse(text).kind in {*PORTS, "unix"}


ONE = (Host("host", 6379),)
TWO = (Host("a", 1), Host("b", 26379))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("redis://", StoreAddress("one", (Host("localhost", 6379),))),
        ("redis://host", StoreAddress("one", ONE)),
        ("redis://HOST:1/", StoreAddress("one", (Host("host", 1),))),
        ("redis://:p%40ss@host/3", StoreAddress("one", ONE, password="p@ss", database=3)),
        ("redis://user@host", StoreAddress("one", ONE, user="user")),
        ("redis://[::1]:7/1", StoreAddress("one", (Host("::1", 7),), database=1)),
        ("redis://host/1?db=2", StoreAddress("one", ONE, database=2)),
        ("rediss://host?ssl_ca_certs=/a.pem", StoreAddress("one", ONE, True, certificates="/a.pem")),
        (
            "rediss://host?ssl_certfile=/c&ssl_keyfile=/k",
            StoreAddress("one", ONE, True, certificate="/c", key="/k"),
        ),
        ("unix:///run/a%20b.sock?db=2", StoreAddress("unix", path="/run/a b.sock", database=2)),
        ("unix://user:secret@/run/s.sock", StoreAddress("unix", path="/run/s.sock", user="user", password="secret")),
        ("redis+sentinel://a:1,b/my", StoreAddress("sentinel", TWO, master="my")),
        (
            "rediss+sentinel://u:p@a:1,b/my/4?sentinel_username=s&sentinel_password=q&ssl_ca_certs=/a",
            StoreAddress(
                "sentinel",
                TWO,
                True,
                master="my",
                database=4,
                user="u",
                password="p",
                sentinel_user="s",
                sentinel_password="q",
                certificates="/a",
            ),
        ),
        ("redis+cluster://a:1,b:26379", StoreAddress("cluster", TWO)),
        (
            "rediss+cluster://u:p@[::1],host/0",
            StoreAddress("cluster", (Host("::1", 6379), *ONE), True, "", "", 0, "u", "p"),
        ),
    ],
)
def test_what_a_url_means(written: str, meant: StoreAddress) -> None:
    assert StoreAddress.parse(written) == meant


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("http://:s3cr3t@host", "must begin with one of redis://"),
        ("sentinel://s3cr3t/my", "must begin with one of redis://"),
        ("s3cr3t", "must begin with one of redis://"),
        ("redis://:s3cr3t#x@host", "no #"),
        ("redis://:s3cr3t/x@host:6379", "an address must be host:port"),
        ("redis://:12/s3cr3t@host:6379", "the database must be a number"),
        ("redis://host/s3cr3t", "the database must be a number"),
        ("redis://host/1/s3cr3t", "too many parts"),
        ("redis://:s3cr3t@ho st", "a host's name"),
        ("redis://:s3cr3t@host:99999", "a port must be from 1 to 65535"),
        ("redis://:s3cr3t@host:0", "a port must be from 1 to 65535"),
        ("redis://:s3cr3t@host:x", "an address must be host:port"),
        ("redis://:s3cr3t@[host", "a host's name"),
        ("redis://:s3cr3t@[host]", "must be an IPv6 address"),
        ("redis://:s3cr3t%FF@host", "not percent-encoded UTF-8"),
        ("redis://host?s3cr3t@host", "what follows ? must be option=value"),
        ("redis://host?db=s3cr3t", "the database must be a number"),
        ("redis://host?socket_timeout=5&password=s3cr3t", "its options may be db, password, username"),
        ("redis://host?ssl_ca_certs=s3cr3t", "ssl_ options need rediss://"),
        ("redis+cluster://host?sentinel_password=s3cr3t", "sentinel_ options redis+sentinel://"),
        ("rediss://host?ssl_keyfile=s3cr3t", "ssl_keyfile needs ssl_certfile"),
        ("redis://:s3cr3t@a,b", "several addresses need redis+sentinel:// or redis+cluster://"),
        ("redis+cluster://:s3cr3t@a,,b", "a host's name"),
        ("redis+sentinel://:s3cr3t@a,b", "Sentinels need the master's name"),
        ("redis+sentinel://a,b/s3cr3t@x", "Sentinels need the master's name"),
        ("redis+sentinel://a/my/s3cr3t", "the database must be a number"),
        ("redis+cluster://:s3cr3t@a/1", "a Cluster has database 0 only"),
        ("unix://s3cr3t/run/s.sock", "a unix socket needs its absolute path"),
        ("unix://:12/s3cr3t@/run/s.sock", "a unix socket needs its absolute path"),
        ("unix://:s3cr3t@", "a unix socket needs its absolute path"),
        ("unix://s3cr3t", "a unix socket needs its absolute path"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_why_and_repeats_nothing(written: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        StoreAddress.parse(written)
    assert "s3cr3t" not in str(refusal.value)
    assert reason in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


@given(ADDRESSES)
def test_what_is_shown_holds_no_login(address: StoreAddress) -> None:
    shown = ("kind", "hosts", "tls", "path", "master", "database")
    marked = StoreAddress(**{name: getattr(address, name) for name in shown})
    assert str(address) == str(marked)
    assert repr(address) == repr(marked)
