"""Which key a request carries, however its client writes it."""

from hashlib import sha256

import pytest

from gateway.config import Key
from gateway.config.keys import keys_from_environ
from gateway.errors import Unauthorized
from gateway.intake import auth
from gateway.intake.auth import Keys

KEYS = Keys((Key("ops", sha256(b"sk-ops").digest()), Key("dev", sha256(b"sk-dev").digest())))


def tenant(**headers: bytes) -> str:
    return KEYS.of({name.replace("_", "-").encode(): value for name, value in headers.items()}).tenant


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": b"Bearer sk-ops"},
        {"authorization": b"bearer   sk-ops "},
        {"authorization": b" Bearer sk-ops"},
        {"x_api_key": b"sk-ops"},
        {"x_api_key": b"sk-ops "},
        {"x_api_key": b"\tsk-ops"},
        {"authorization": b"Bearer ", "x_api_key": b"sk-ops"},
        {"authorization": b"Bearer", "x_api_key": b"sk-ops"},
        {"authorization": b"", "x_api_key": b"sk-ops"},
        {"authorization": b"Basic dTpw", "x_api_key": b"sk-ops"},
        {"authorization": b"Bearer sk-ops", "x_api_key": b"sk-dev"},
    ],
)
def test_a_good_key_is_found(headers: dict[str, bytes]) -> None:
    assert tenant(**headers) == "ops"
    assert KEYS.identify({name.replace("_", "-").encode(): value for name, value in headers.items()}) is not None


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"authorization": b"Bearer "}, "missing_api_key"),
        ({"x_api_key": b"  "}, "missing_api_key"),
        ({"authorization": b"sk-ops"}, "missing_api_key"),
        ({"authorization": b"Bearer sk-op"}, "invalid_api_key"),
        ({"authorization": b"Bearer sk-x", "x_api_key": b"sk-ops"}, "invalid_api_key"),
    ],
)
def test_a_missing_key_and_a_wrong_one_have_different_codes(headers: dict[str, bytes], code: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        tenant(**headers)
    assert refused.value.code == code
    assert KEYS.identify({name.replace("_", "-").encode(): value for name, value in headers.items()}) is None


def test_without_keys_all_are_known() -> None:
    assert Keys(()).identify({}) == b""


@pytest.mark.parametrize(
    "text", ["ops:sk-ops, dev : sk-dev", " ops: sk-ops ,dev :sk-dev\n,", "ops:sk-ops,\n dev:sk-dev"]
)
def test_white_space_around_names_and_secrets_does_not_count(text: str) -> None:
    problems: list[str] = []
    found = keys_from_environ(text, problems)
    assert not problems
    assert [(key.tenant, key.digest) for key in found] == [
        ("ops", sha256(b"sk-ops").digest()),
        ("dev", sha256(b"sk-dev").digest()),
    ]


def test_a_bare_secret_is_named_by_its_place() -> None:
    assert [(key.tenant, key.digest) for key in keys_from_environ("a:b, sk-dev ", [])][1] == (
        "key-2",
        sha256(b"sk-dev").digest(),
    )


def test_a_tenant_or_secret_of_white_space_is_none() -> None:
    problems: list[str] = []
    assert not keys_from_environ(" : sk,dev: ", problems)
    assert len(problems) == 2


def test_requests_whose_lookups_alternate_are_not_mistaken_for_each_other() -> None:
    heads = [{b"authorization": b"Bearer " + secret} for secret in (b"sk-ops", b"sk-dev", b"sk-none")]
    for _ in range(2):
        assert [KEYS.identify(head) is not None for head in heads] == [True, True, False]
        assert [KEYS.of(head).tenant for head in heads[:2]] == ["ops", "dev"]


def test_what_was_sent_with_a_valid_key_is_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MOST_SEEN", 2)
    keys = Keys((Key("ops", sha256(b"sk-ops").digest()), Key("dev", sha256(b"sk-dev").digest())))
    for spaces in range(1, 5):
        assert keys.of({b"authorization": b"Bearer" + b" " * spaces + b"sk-ops"}).tenant == "ops"
    for secret in (b"sk-dev", b"sk-x", b"sk-dev"):
        assert (keys.identify({b"x-api-key": secret}) is not None) == (secret == b"sk-dev")
    assert keys.of({b"authorization": b"Basic dTpw", b"x-api-key": b"sk-dev"}).tenant == "dev"
    assert keys.identify({b"authorization": b"Basic dTpw"}) is None  # what was sent in the other header counts
    assert len(keys._seen) == 2


def test_each_refusal_is_counted_by_its_reason() -> None:
    counted: list[str] = []
    old = Key("old", sha256(b"sk-old").digest(), expires=1.0)
    keys = Keys((old,), refused=counted.append)
    for headers in ({}, {b"authorization": b"Bearer sk-other"}, {b"x-api-key": b"sk-old"}):
        with pytest.raises(Unauthorized):
            keys.of(headers)
        assert keys.identify(headers) is None
    assert counted == ["missing", "invalid", "expired"]
