"""A whole sync: sources on disk and on loopback, the book that is written, and what is told about it."""

import asyncio
import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings
from gateway.config.keys import Secrets
from gateway.errors import ConfigError
from gateway.prices import host_lists
from gateway.prices.litellm_map import map_in, package_map
from gateway.prices.price_book import book_path, read_book
from gateway.prices.price_sync import Synced, SyncRunning, sync
from gateway.prices.price_tables import synced
from tests.prices.recorded import ENTRIES, NOW, catalogued, endpoint, litellm_map
from tests.support.connect_proxy import ConnectProxy
from tests.support.host import Out, Received, ScriptedHost, answers

# Entries of `GET /models` in the forms that these hosts publish, all 0.27 / 0.135 cached / 0.41 USD per 1M tokens.
HOST_FORMS: Mapping[str, Mapping[str, Any]] = {
    "openrouter": {"pricing": {"prompt": "0.00000027", "completion": "0.00000041", "input_cache_read": "0.000000135"}},
    "baseten": {"pricing": {"prompt": "0.00000027", "completion": "0.00000041", "input_cache_read": "0.000000135"}},
    "nebius": {"pricing": {"prompt": "0.00000027", "completion": "0.00000041", "input_cache_read": "0.000000135"}},
    "phala": {"pricing": {"prompt": "0.00000027", "completion": "0.00000041", "input_cache_read": "0.000000135"}},
    "cortecs": {"pricing": {"currency": "USD", "input_token": 0.27, "output_token": 0.41, "cache_read_cost": 0.135}},
    "friendli": {"pricing": {"input": "0.00000027", "output": "0.00000041", "input_cache_read": "0.000000135"}},
    "deepinfra": {"metadata": {"pricing": {"input_tokens": 0.27, "output_tokens": 0.41, "cache_read_tokens": 0.135}}},
    "novita": {
        "input_token_price_per_m": 2700,
        "output_token_price_per_m": 4100,
        "cached_input_token_price_per_m": 1350,
    },
    "chutes": {"pricing": {"prompt": 0.27, "completion": 0.41, "input_cache_read": 0.135}},
    "sambanova": {"pricing": {"prompt": "0.00000027", "completion": "0.00000041", "input_cache_read": 1.35e-07}},
    "venice": {
        "model_spec": {
            "pricing": {"input": {"usd": 0.27}, "output": {"usd": 0.41, "diem": 0.41}, "cache_input": {"usd": 0.135}}
        }
    },
}


def from_map(folder: Path, settings: Settings, *accept: str, at: float = NOW, **entries: Any) -> Synced:
    path = litellm_map(folder, **(entries or {name: ENTRIES[name] for name in ENTRIES}))
    return sync(settings, [str(path)], accept, at)


def results(done: Synced) -> dict[str, str]:
    return {line.endpoint.id: line.result for line in done.lines}


def test_each_recorded_entry_is_taken_or_shown(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, *map(endpoint, ENTRIES))
    done = from_map(tmp_path, settings)
    taken = {"changed", "as-text", "ends", "no-date"}
    assert results(done) == {
        name: "taken" if name in taken else "same" if name == "same" else "not taken" for name in ENTRIES
    }
    book = read_book(book_path(settings))
    assert book == done.book
    assert {name for name, history in book.endpoints.items() if history.changes} == taken
    assert (book.synced, book.endpoints["changed"].changes[0].source) == (NOW, "map.json")


def test_the_next_sync_changes_nothing_and_a_flag_keeps_its_time(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("changed"), endpoint("zero"))
    from_map(tmp_path, settings)
    again = from_map(tmp_path, settings, at=NOW + 100)
    assert results(again) == {"changed": "same", "zero": "not taken"}
    assert [flag.at for flag in again.book.endpoints["zero"].flags] == [NOW]


def test_a_flag_goes_when_the_source_is_right_again(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("x"))
    from_map(tmp_path, settings, x=ENTRIES["zero"])
    done = from_map(tmp_path, settings, x=ENTRIES["changed"])
    assert (results(done), done.book.endpoints["x"].flags) == ({"x": "taken"}, ())


def test_an_accepted_price_is_marked_and_its_flag_goes(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("zero"), endpoint("NaN"))
    done = from_map(tmp_path, settings, "zero", "NaN")
    assert results(done) == {"zero": "accepted", "NaN": "not taken"}
    (change,) = read_book(book_path(settings)).endpoints["zero"].changes
    assert (change.accepted, change.input) == (True, 0.0)
    assert done.book.endpoints["zero"].flags == ()


def test_small_steps_come_no_further_from_a_confirmed_price_than_one(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("x"))  # 0.25 / 0.5

    def at_price(price: float, *accept: str) -> str:
        entry = {**ENTRIES["as-text"], "input_cost_per_token": price / 1e6}
        return results(from_map(tmp_path, settings, *accept, x=entry))["x"]

    assert [at_price(0.2), at_price(0.15), at_price(0.124)] == ["taken", "taken", "not taken"]
    (flag,) = read_book(book_path(settings)).endpoints["x"].flags
    assert (flag.kind, flag.text) == ("jump", "map.json: since it was confirmed: input 0.25 -> 0.124")
    assert [at_price(0.124, "x"), at_price(0.09)] == ["accepted", "taken"]


def test_accepting_an_endpoint_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("zero"))
    with pytest.raises(ConfigError, match=r"--accept: there is no endpoint `zeros`.*did you mean `zero`"):
        from_map(tmp_path, settings, "zeros")


def test_a_price_in_gateway_yaml_stays_even_if_accepted(tmp_path: Path) -> None:
    settings = replace(catalogued(tmp_path, endpoint("changed"), endpoint("ends")), own_prices=frozenset({"changed"}))
    done = from_map(tmp_path, settings, "changed")
    assert results(done) == {"changed": "own price", "ends": "taken"}
    assert "changed" not in done.book.endpoints


def test_retired_simulated_and_own_machines_are_left_out(tmp_path: Path) -> None:
    settings = catalogued(
        tmp_path,
        endpoint("changed", status="retired"),
        endpoint("ends", status="self_hosted"),
        endpoint("as-text", simulated=True),
        endpoint("zero"),
    )
    assert results(from_map(tmp_path, settings)) == {"zero": "not taken"}


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("changed"))
    path = litellm_map(tmp_path, changed=ENTRIES["changed"])
    done = sync(settings, [str(path)], (), NOW, dry=True)
    assert results(done) == {"changed": "taken"}
    assert not book_path(settings).exists()


def test_only_the_latest_changes_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.prices.price_sync.MOST_CHANGES", 3)
    settings = catalogued(tmp_path, endpoint("x"))
    for cents in range(26, 32):
        done = from_map(tmp_path, settings, x={**ENTRIES["changed"], "input_cost_per_token": cents * 1e-8})
    assert [round(one.input, 2) for one in done.book.endpoints["x"].changes] == [0.29, 0.3, 0.31]


def test_two_syncs_do_not_overwrite_each_other(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("changed"))
    folder = book_path(settings).parent
    folder.mkdir()
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(SyncRunning, match="another sync is running"):
        from_map(tmp_path, settings)
    os.close(held)
    assert results(from_map(tmp_path, settings)) == {"changed": "taken"}


def test_a_full_disk_is_said_and_the_old_book_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = catalogued(tmp_path, endpoint("changed"))
    before = from_map(tmp_path, settings).book

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"cannot be written .No space left on device.; the old one is unchanged"):
        from_map(tmp_path, settings, changed=ENTRIES["zero"])
    assert read_book(book_path(settings)) == before


def test_a_book_that_was_edited_wrongly_is_not_overwritten(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("changed"))
    path = book_path(settings)
    path.parent.mkdir()
    path.write_text("endpoints:\n  changed: {change: []}\n")
    with pytest.raises(ConfigError, match=rf"{path}:2:13: unknown key `change`; did you mean `changes`"):
        from_map(tmp_path, settings)
    assert "change:" in path.read_text()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"a": {"litellm_provider": "x"', "map.json:1:31: is not JSON"),
        ("{}", "is not litellm's cost map"),
        ("[1]", "is not litellm's cost map"),
        ('{"a": {"price": 1}}', "is not litellm's cost map"),
        ("\xff", "is not JSON in UTF-8"),
        ("[" * 200_000, "is not JSON"),
    ],
)
def test_a_file_that_is_no_map_is_named(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "map.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=why):
        map_in(path, "x")


def test_a_map_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read .No such file"):
        map_in(tmp_path / "map.json", "x")


def test_a_file_of_prices_in_usd_per_million(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("x"), endpoint("y"))
    path = tmp_path / "mine.yaml"
    path.write_text("x: {input: 0.27, output: 0.41}\n")
    assert results(sync(settings, [str(path)], (), NOW)) == {"x": "taken"}
    path.write_text("x: {input: 0.27, output: dear}\nz: {input: 1, output: 1}\n")
    with pytest.raises(ConfigError) as error:
        sync(settings, [str(path)], (), NOW)
    assert [one.removeprefix(f"{path}:")[:4] for one in error.value.problems] == ["1:26", "2:1:"]


# --- the package's map ------------------------------------------------------------------------------------------


def test_the_installed_map_knows_hosts_of_the_catalogue() -> None:
    from gateway.config import load

    (model,) = load(None, {}).models
    quotes = package_map().quotes(model.endpoints)
    assert {"novita/fp8", "deepinfra/fp4", "friendli", "gmicloud/fp8", "azure", "sambanova"} <= quotes.keys()
    assert quotes["azure"].ends == "2027-11-01"
    assert quotes["volcengine"].input == 0.0


@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({"provider": "amazon-bedrock", "base_url": "https://bedrock-mantle.eu-north-1.api.aws/v1"}, 0.74),
        ({"provider": "amazon-bedrock", "base_url": "https://bedrock-mantle.us-east-1.api.aws/v1"}, 0.62),
        ({"provider": "amazon-bedrock", "base_url": "https://bedrock-mantle.{REGION}.api.aws/v1"}, None),
        (
            {
                "provider": "mine",
                "base_url": "https://bedrock-runtime.eu-north-1.amazonaws.com",
                "model": "bedrock/converse/deepseek.v3.2",
                "adapter": "litellm",
                "adapter_options": {"region": "eu-north-1"},
            },
            0.74,
        ),
        ({"provider": "mine"}, None),
    ],
)
def test_the_price_at_bedrock_is_that_of_the_region(tmp_path: Path, fields: Any, price: float | None) -> None:
    settings = catalogued(tmp_path, {**endpoint("x"), "model": "deepseek.v3.2", **fields})
    quotes = package_map().quotes(settings.models[0].endpoints)
    assert (quotes["x"].input if "x" in quotes else None) == price


def test_a_map_says_what_endpoints_can_do(tmp_path: Path) -> None:
    able = {**ENTRIES["same"], "supports_function_calling": True, "supports_response_schema": False}
    settings = catalogued(tmp_path, endpoint("x"), endpoint("y"))
    claims = map_in(litellm_map(tmp_path, x=able), "litellm 1.110.2").claims(settings.models[0].endpoints)
    assert (claims.source, claims.by_endpoint) == ("litellm 1.110.2", {"x": frozenset({"tools"})})
    assert "json_schema" in claims.known
    assert "seed" not in claims.known


def test_reading_the_map_does_not_import_litellm() -> None:
    script = (
        "import sys; from gateway.prices.litellm_map import package_map; assert package_map().entries;"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"litellm", "openai", "httpx", "pydantic"}.isdisjoint(done.stdout.split())


# --- hosts -------------------------------------------------------------------------------------------------------


def at_host(folder: Path, host: ScriptedHost, provider: str = "novita", **fields: Any) -> Settings:
    own = {**endpoint("x"), "provider": provider, "base_url": f"{host.url}/v1", "model": "Deep/V3.2", **fields}
    return catalogued(folder, own)


async def asked(settings: Settings, *sources: str) -> Synced:
    return await asyncio.to_thread(sync, settings, sources or ["hosts"], (), NOW)


@pytest.mark.parametrize("provider", HOST_FORMS)
async def test_each_hosts_own_form_and_unit(tmp_path: Path, provider: str) -> None:
    entry = {"id": "deep/v3.2", "object": "model", **HOST_FORMS[provider]}
    async with ScriptedHost(answers(200, {"object": "list", "data": [{"id": "other"}, entry]})) as host:
        done = await asked(at_host(tmp_path, host, provider))
        query = {"cortecs": "?currency=USD", "nebius": "?verbose=true"}.get(provider, "")
        assert host.requests[0].path == f"/v1/models{query}"
    (change,) = done.book.endpoints["x"].changes
    assert (change.input, change.cached_input, change.output) == (0.27, 0.135, 0.41)
    assert change.source == f"{provider} /models"


@pytest.mark.parametrize(
    ("provider", "unit", "text"),
    [
        ("cortecs", {"currency": "EUR"}, "pricing.currency: `EUR` is another unit"),
        ("cortecs", {"currency": None}, "pricing.currency: `None` is another unit"),
        ("friendli", {"unit_type": "SECOND"}, "pricing.unit_type: `SECOND` is another unit"),
    ],
)
async def test_a_price_in_another_unit_is_not_taken(
    tmp_path: Path, provider: str, unit: dict[str, str], text: str
) -> None:
    entry = {"id": "deep/v3.2", "pricing": {**HOST_FORMS[provider]["pricing"], **unit}}
    async with ScriptedHost(answers(200, {"data": [entry]})) as host:
        history = (await asked(at_host(tmp_path, host, provider))).book.endpoints["x"]
    assert [(flag.kind, flag.text) for flag in history.flags] == [("missing", f"{provider} /models: {text}")]
    assert history.changes == ()


@pytest.mark.parametrize("price", ["-1", "NaN", "free", None])
async def test_a_host_without_a_price_is_shown(tmp_path: Path, price: str | None) -> None:
    entry = {"id": "Deep/V3.2", "pricing": {"prompt": price, "completion": "0.00000041"}}
    async with ScriptedHost(answers(200, {"data": [entry]})) as host:
        done = await asked(at_host(tmp_path, host, "openrouter"))
    assert [flag.kind for flag in done.book.endpoints["x"].flags] == ["missing"]
    assert done.book.endpoints["x"].changes == ()


async def test_a_model_that_is_no_longer_listed_is_marked_until_it_is_again(tmp_path: Path) -> None:
    listed = {"data": [{"id": "Deep/V3.2"}]}
    scripts = [answers(200, {"data": [{"id": "Deep/V4"}]}), answers(200, listed)]
    async with ScriptedHost(scripts) as host:
        settings = at_host(tmp_path, host, "unknown-host")
        gone = await asked(settings)
        assert [flag.kind for flag in gone.book.endpoints["x"].flags] == ["unlisted"]
        assert results(gone) == {"x": "no price"}
        back = await asked(settings)
        assert "x" not in back.book.endpoints


async def test_the_host_comes_before_litellms_map_which_knows_the_end(tmp_path: Path) -> None:
    path = litellm_map(tmp_path, **{"deep/v3.2": {**ENTRIES["ends"], "input_cost_per_token": 3e-07}})
    async with ScriptedHost(answers(200, {"data": [{"id": "Deep/V3.2", **HOST_FORMS["novita"]}]})) as host:
        settings = at_host(tmp_path, host)
        done = await asked(settings, str(path), "hosts")
        assert done.book.endpoints["x"].changes[0].input == 0.27
        assert [flag.kind for flag in done.book.endpoints["x"].flags] == ["deprecated"]
        again = await asked(settings, "hosts")
        assert [flag.kind for flag in again.book.endpoints["x"].flags] == ["deprecated"], "hosts do not speak of ends"


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (401, {"error": "no"}, "/models answered 401"),
        (500, {}, "/models answered 500"),
        (200, {"data": []}, "something else than a list of models"),
        (200, {"models": 1}, "something else than a list of models"),
        (200, "text", "something else than a list of models"),
    ],
)
async def test_a_list_that_cannot_be_read_changes_nothing(tmp_path: Path, status: int, body: Any, why: str) -> None:
    async with ScriptedHost(answers(status, body)) as host:
        done = await asked(at_host(tmp_path, host))
    assert done.lines == ()
    assert (len(done.problems), why in done.problems[0]) == (1, True)


async def test_a_host_that_sends_its_headers_byte_by_byte_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = asyncio.Event()

    async def drips(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nx-long: ")
        with suppress(OSError):
            while True:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        left.set()

    monkeypatch.setattr(host_lists, "ANSWER_WITHIN", 0.3)
    async with await asyncio.start_server(drips, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        done = await asked(catalogued(tmp_path, endpoint("x", base_url=url)))
        await left.wait()
    assert done.problems == ("x: /models takes too long",)


async def test_the_key_goes_to_its_host_alone_and_is_never_shown(tmp_path: Path) -> None:
    async with ScriptedHost(answers(200, {"data": [{"id": "y"}]})) as other:

        async def moved(_: Received, out: Out) -> None:
            await out.head(302, {"location": f"{other.url}/v1/models", "content-length": "0"}, chunked=False)
            await out.end()

        async with ScriptedHost(moved) as host:
            settings = at_host(tmp_path, host, api_key_env="KEY")
            assert (await asked(settings)).problems == (), "without its key, a host is not asked"
            done = await asked(replace(settings, secrets=Secrets({"KEY": "sk-secret"})))
            assert host.requests[0].headers["authorization"] == "Bearer sk-secret"
            assert (done.problems, other.requests) == (("x: /models answered 302",), [])
            broken = await asked(replace(settings, secrets=Secrets({"KEY": "sk-\nsecret"})))
            assert "secret" not in str(broken)


async def test_a_list_comes_through_the_endpoints_proxy(tmp_path: Path) -> None:
    listed = answers(200, {"data": [{"id": "Deep/V3.2", **HOST_FORMS["novita"]}]})
    async with ScriptedHost(listed) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        settings = at_host(tmp_path, host, base_url="http://novita.example/v1", proxy=proxy.url)
        assert (await asked(settings)).book.endpoints["x"].changes[0].input == 0.27
        assert (proxy.connects, host.requests[0].path) == (["novita.example:80"], "/v1/models")
        proxy.status = 403
        refused = f"x: /models cannot be reached (the proxy {proxy.url} answered CONNECT with 403)"
        assert (await asked(settings)).problems == (refused,)


async def test_a_host_that_is_away_is_named(tmp_path: Path) -> None:
    done = await asked(catalogued(tmp_path, endpoint("x")))
    assert done.problems[0].startswith("x: /models cannot be reached (")


async def test_two_endpoints_of_a_host_ask_it_once(tmp_path: Path) -> None:
    async with ScriptedHost(answers(200, {"data": [{"id": "a"}]})) as host:
        url = f"{host.url}/v1"
        done = await asked(catalogued(tmp_path, endpoint("a", base_url=url), endpoint("b", base_url=url)))
        assert len(host.requests) == 1
    assert [len(done.book.endpoints[name].flags) for name in "ab"] == [1, 1]


# --- what is shown -----------------------------------------------------------------------------------------------


def test_the_table_fits_a_terminal_and_names_what_was_not_taken(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, *map(endpoint, ENTRIES))
    shown = synced(from_map(tmp_path, settings), None)
    assert max(map(len, shown.splitlines())) <= 80
    assert "zero: zero: map.json: a price of 0 for input, output" in shown
    assert "gateway prices sync --accept ENDPOINT" in shown
