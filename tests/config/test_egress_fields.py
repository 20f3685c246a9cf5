"""`proxy`, `ca_file` and `client_cert` of a provider or an endpoint."""

import pickle
from pathlib import Path

import pytest
import yaml

from gateway.config import Settings, load
from gateway.errors import ConfigError
from gateway.types import Endpoint
from tests.support.certificates import self_signed
from tests.support.gateway import MODEL

PRICE = {"input": 1, "output": 2}


def loaded(
    folder: Path, endpoint: dict[str, object], environ: dict[str, str] | None = None, **settings: object
) -> Settings:
    own = {
        "id": "a/fp8",
        "provider": "acme",
        "base_url": "https://a.example/v1",
        "model": "m",
        "price": PRICE,
    } | endpoint
    models = {"deepseek/deepseek-v3.2": {"endpoints": [own], **MODEL}}
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump({"catalogue": False, "models": models, **settings}, width=1000))
    return load(path, environ or {})


def only(settings: Settings) -> Endpoint:
    return settings.models[0].endpoints[0]


def problem(
    folder: Path, endpoint: dict[str, object], environ: dict[str, str] | None = None, **settings: object
) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, endpoint, environ, **settings)
    return "\n".join(caught.value.problems).replace(f"{folder}/", "")


def test_the_endpoint_comes_before_its_provider_and_that_before_the_environment(tmp_path: Path) -> None:
    environ = {"HTTPS_PROXY": "http://env:1"}
    providers = {"acme": {"proxy": "http://provider:2"}}
    assert str(only(loaded(tmp_path, {}, environ)).proxy) == "http://env:1"
    assert str(only(loaded(tmp_path, {}, environ, providers=providers)).proxy) == "http://provider:2"
    assert str(only(loaded(tmp_path, {"proxy": "own:3"}, environ, providers=providers)).proxy) == "http://own:3"


@pytest.mark.parametrize("word", ["none", "direct"])
def test_none_leaves_the_environments_out(tmp_path: Path, word: str) -> None:
    assert only(loaded(tmp_path, {"proxy": word}, {"HTTPS_PROXY": "http://env:1"})).proxy is None


def test_an_endpoint_without_its_key_needs_no_proxy(tmp_path: Path) -> None:
    environ = {"ALL_PROXY": "socks5://p:1"}
    assert only(loaded(tmp_path, {"api_key_env": "KEY"}, environ)).proxy is None
    wrong = problem(tmp_path, {"api_key_env": "KEY"}, environ | {"KEY": "k"})
    assert wrong.startswith("ALL_PROXY: is not an HTTP proxy")


def test_variables_are_replaced_and_the_password_is_never_shown(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"proxy": "http://${WHO}:${PASS}@p:1"}, {"WHO": "me", "PASS": "hunter2"})
    proxy = only(settings).proxy
    assert proxy is not None
    assert (proxy.user, proxy.password) == ("me", "hunter2")
    assert "hunter2" not in repr(settings)
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("socks5://me:hunter2@p", "proxy: is not an HTTP proxy; write http://user:password@host:port"),
        ("http://me:hunter2@p:port", "proxy: is not an HTTP proxy"),
        ("http://me:hunter2\n@p", "proxy: is not an HTTP proxy"),
        ("http://me:%0ahunter2@p", "proxy: is not an HTTP proxy"),
        ("http://me:${HUNTER2}@p", "proxy: HUNTER2 is not set; set it, or write it out"),
        (["p"], "proxy: expected one value"),
    ],
)
def test_a_wrong_proxy(tmp_path: Path, value: object, why: str) -> None:
    wrong = problem(tmp_path, {"proxy": value})
    assert why in wrong
    assert wrong.startswith("gateway.yaml:")
    assert "hunter2" not in wrong


def test_a_provider_that_no_endpoint_has(tmp_path: Path) -> None:
    wrong = problem(tmp_path, {}, providers={"acne": {"proxy": "none"}})
    assert "providers: no endpoint has the provider `acne`; did you mean `acme`?" in wrong


def test_a_provider_whose_endpoints_cannot_be_read_is_not_unknown(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    assert "no endpoint has" not in problem(tmp_path, {}, providers={"acme": {"ca_file": "empty.pem"}})


def test_an_unknown_field_of_a_provider(tmp_path: Path) -> None:
    assert "unknown key `proxi`; did you mean `proxy`?" in problem(tmp_path, {}, providers={"acme": {"proxi": "none"}})


def test_files_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    pem = self_signed(tmp_path, "a.example")
    one = only(loaded(tmp_path, {"ca_file": pem.name, "client_cert": str(pem)}))
    assert one.ca_file is not None
    assert (one.ca_file.path, one.client_cert) == (pem, one.ca_file)
    pem.write_bytes(pem.read_bytes() + b"\n")
    assert only(loaded(tmp_path, {"ca_file": pem.name})).ca_file != one.ca_file, "a reload sees the change"


def test_a_file_that_cannot_be_used_is_named_with_its_place(tmp_path: Path) -> None:
    pem = self_signed(tmp_path, "a.example")
    (tmp_path / "empty.pem").write_text("")
    public = pem.with_suffix(".crt").name
    assert "absent.pem: cannot be read (No such file or directory)" in problem(tmp_path, {"ca_file": "absent.pem"})
    assert "empty.pem has no certificate in PEM; name a file of" in problem(tmp_path, {"ca_file": "empty.pem"})
    wrong = problem(tmp_path, {"client_cert": public})
    assert wrong.startswith("gateway.yaml:")
    assert f"client_cert: {public} has no certificate with its unencrypted key in PEM" in wrong
