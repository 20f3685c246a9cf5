"""gateway.yaml, the environment and the catalogue make one Settings; every mistake is found at once."""

import os
import pickle
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.config import (
    Bound,
    Facts,
    Key,
    Rule,
    Secrets,
    Settings,
    When,
    load,
    usable,
    wanted_variables,
)
from gateway.errors import ConfigError
from gateway.types import Endpoint

V32 = "deepseek/deepseek-v3.2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def settings(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {})


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        settings(folder, text, environ)
    return "\n".join(caught.value.problems).replace(f"{folder}/", "")


def endpoint(found: Settings, name: str) -> Endpoint:
    return next(one for one in found.models[0].endpoints if one.id == name)


def endpoints(*lines: str) -> str:
    return f"models:\n  {V32}:\n    endpoints:\n" + "".join(f"      - {line}\n" for line in lines)


def digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def test_without_a_file_there_are_defaults_and_the_catalogue() -> None:
    found = load(None, {})

    assert (found.host, found.port, found.workers, found.max_body) == ("127.0.0.1", 8080, 1, 16 << 20)
    assert (found.redis_url, found.keys, found.policies, found.state) == (None, (), None, None)
    assert found.default_policy == "balanced"
    assert [model.id for model in found.models] == [V32]
    assert usable(found.models[0], found.secrets) == ()


def test_an_empty_file_is_the_same_as_none(folder: Path) -> None:
    assert replace(settings(folder, ""), files=()) == load(None, {})


def test_every_field_of_the_file_is_taken(folder: Path) -> None:
    found = settings(
        folder,
        """
        host: 0.0.0.0
        port: 0
        workers: 4
        redis: {url: "redis://:${REDIS_PASSWORD}@cache:6379/0"}
        policies: ./mine
        default_policy: floor
        state: /var/lib/gateway
        max_body: 1MiB
        max_in_flight: 500
        allowed_hosts: [gateway, "*.lan", "10.0.0.5", "[::1]", "2001:db8::1", "*"]
        cors: ["https://chat.example", "http://localhost:5173"]
        public_lists: true
        keep_responses: false
        claude: {haiku: floor, opus: nitro}
        """,
        {"REDIS_PASSWORD": "hunter2"},
    )

    assert (found.host, found.port, found.workers, found.max_body) == ("0.0.0.0", 0, 4, 1 << 20)
    assert found.redis_url == "redis://:hunter2@cache:6379/0"
    assert (found.max_in_flight, len(found.allowed_hosts)) == (500, 6)
    assert (found.policies, found.state) == (folder / "mine", Path("/var/lib/gateway"))
    assert found.default_policy == "floor"
    assert found.cors == ("https://chat.example", "http://localhost:5173")
    assert found.public_lists
    assert not found.keep_responses
    assert found.claude == {"haiku": "floor", "opus": "nitro"}


def test_the_environment_wins(folder: Path) -> None:
    environ = {"GATEWAY_REDIS_URL": "redis://other", "GATEWAY_STATE": "/state"}
    found = settings(folder, "redis: {url: redis://file}\nstate: here\n", environ)
    assert (found.redis_url, found.state) == ("redis://other", Path("/state"))


def test_keys_come_from_the_file_and_the_environment(folder: Path) -> None:
    text = """
    keys:
      - {tenant: web, key_env: WEB_KEY}
      - {tenant: jobs, key: hunter2, policy: floor}
    """
    found = settings(folder, text, {"WEB_KEY": "w\n", "GATEWAY_API_KEYS": "team:a:b, bare,, last,"})

    assert found.keys == (
        Key("web", digest("w")),
        Key("jobs", digest("hunter2"), "floor"),
        Key("team", digest("a:b")),
        Key("key-2", digest("bare")),
        Key("key-4", digest("last")),
    )


@pytest.mark.parametrize(
    ("text", "environ", "problem"),
    [
        (
            "keys: [{tenant: a, key_env: A_KEY}]",
            {},
            "gateway.yaml:1:8: tenant `a`: A_KEY is not set; set it, or remove this entry",
        ),
        (
            "keys: [{tenant: a}]",
            {},
            "gateway.yaml:1:8: tenant `a` needs either `key_env: VARIABLE` or `key: ...`",
        ),
        (
            "keys: [{tenant: a, key: x, key_env: X}]",
            {"X": "x"},
            "gateway.yaml:1:8: tenant `a` needs either `key_env: VARIABLE` or `key: ...`",
        ),
        ("keys: [{tenant: a, key: ''}]", {}, "gateway.yaml:1:8: tenant `a`: `key` is empty; write the secret"),
        ("keys: [{tenant: a, key: x}]", {"GATEWAY_API_KEYS": "b:x"}, "keys: two keys are equal"),
        ("", {"GATEWAY_API_KEYS": "a:x,b:"}, "GATEWAY_API_KEYS: item 2 lacks its tenant or secret"),
        ("", {"GATEWAY_API_KEYS": ":x"}, "GATEWAY_API_KEYS: item 1 lacks its tenant or secret"),
        ("redis: {url: '${NOPE}'}", {}, "gateway.yaml:1:14: redis.url: NOPE is not set"),
        (
            "redis: {url: 'http://x'}",
            {},
            "gateway.yaml:1:14: redis.url: the store's URL is invalid: it must begin with one of redis://, rediss://",
        ),
        (
            "redis: {url: 'redis://a:6379,b:6379/0'}",
            {},
            "gateway.yaml:1:14: redis.url: the store's URL is invalid: several addresses need redis+sentinel://",
        ),
        ("redis: {url: 'redis://h/${DB}'}", {"DB": "one"}, "gateway.yaml:1:14: redis.url: the store's URL is"),
        ("", {"GATEWAY_REDIS_URL": "redis://a:1,b:2"}, "GATEWAY_REDIS_URL: the store's URL is invalid"),
        ("port: 70000", {}, "gateway.yaml:1:7: port: 70000 is too large"),
        ("max_in_flight: 0", {}, "gateway.yaml:1:16: max_in_flight must be at least 1, or absent"),
        *(
            (f"allowed_hosts: ['{name}']", {}, f"gateway.yaml:1:16: allowed_hosts: `{name}` is not a host name; write")
            for name in ("http://gateway", "gateway:8080", "a b", "", "*lan", "a.*", "gateway/", "[::1]:80")
        ),
        ("workers: 0", {}, "workers and max_body must be at least 1"),
        ("max_body: 16", {}, "gateway.yaml:1:11: max_body: `16` needs a unit, as in `16MiB`"),
        (
            "cors: [chat.example]",
            {},
            "gateway.yaml:1:7: cors: `chat.example` is not an origin; write only scheme, host and port",
        ),
        ("cors: ['*', 'https://a.example/']", {}, "cors: `https://a.example/` is not an origin"),
        ("prot: 1", {}, "gateway.yaml:1:1: unknown key `prot`; did you mean `port`?"),
        ("models: 3", {}, "gateway.yaml:1:9: models: expected a table"),
        ("- a", {}, "gateway.yaml:1:1: expected a table"),
    ],
)
def test_a_mistake_is_named_with_its_place(folder: Path, text: str, environ: dict[str, str], problem: str) -> None:
    assert problem in problems(folder, text, environ)


def test_all_mistakes_are_reported_together(folder: Path) -> None:
    found = problems(folder, "port: x\nworkers: 0.5\n", {"GATEWAY_API_KEYS": "a:", "GATEWAY_REDIS_URL": "no"})
    assert len(found.splitlines()) == 4


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml:1:1: cannot be read"):
        load(folder / "none.yaml", {})


def test_an_override_changes_only_what_it_gives(folder: Path) -> None:
    shipped = endpoint(load(None, {}), "novita/fp8")
    found = endpoint(settings(folder, endpoints("{id: novita/fp8, price: {input: 0.2}}")), "novita/fp8")

    assert shipped.price
    assert found.price
    assert found.price.input == 0.2
    assert (found.price.output, found.price.cached_input) == (shipped.price.output, shipped.price.cached_input)
    assert (found.base_url, found.supports, found.priors) == (shipped.base_url, shipped.supports, shipped.priors)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_machine_of_your_own_is_one_line(folder: Path, engine: str) -> None:
    found = settings(folder, endpoints(f"{{id: rack-1, provider: {engine}, base_url: 'http://10.0.0.5:8000/v1/'}}"))
    own = endpoint(found, "rack-1")

    assert usable(found.models[0], found.secrets) == (own,)
    assert own.status == "self_hosted"
    assert own.price
    assert (own.price.input, own.price.output) == (0.0, 0.0)
    assert own.model == "deepseek-ai/DeepSeek-V3.2"
    assert own.base_url == "http://10.0.0.5:8000/v1"
    assert own.dialect.thinking == "chat_template_kwargs.thinking"
    assert "tools" in own.supports


def test_what_a_self_hosted_endpoint_gives_wins_over_its_engine(folder: Path) -> None:
    line = "{id: r, provider: vllm, base_url: http://h, price: {input: 1, output: 2}, dialect: {thinking: unknown}}"
    own = endpoint(settings(folder, endpoints(line)), "r")
    assert own.price
    assert (own.price.input, own.price.output) == (1.0, 2.0)
    assert (own.dialect.thinking, own.dialect.reasoning_field) == ("unknown", "reasoning")


def test_a_model_can_be_added(folder: Path) -> None:
    text = """
    models:
      me/mine:
        name: Mine
        context: 4096
        created: 0
        aliases: [mine]
        endpoints: [{id: m, provider: me, base_url: "http://m", model: m, status: self_hosted}]
    """
    assert [model.id for model in settings(folder, text).models] == [V32, "me/mine"]


def adapted(model: str, options: str = "") -> str:
    """An endpoint that litellm translates for."""
    told = f", adapter_options: {{{options}}}" if options else ""
    return f"{{id: x, provider: x, base_url: 'http://x', model: {model}, adapter: litellm{told}}}"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{id: x, provider: x, base_url: 'ftp://x', model: x}", "x: base_url is not an http(s) URL"),
        ("{id: x, provider: x, base_url: 'http://[hunter2', model: x}", "x: base_url is not a URL"),
        ("{id: x, provider: x, base_url: 'x.example', model: x}", "x: base_url is not an http(s) URL"),
        ("{id: x, provider: x, base_url: 'https://me:hunter2@x', model: x}", "x: base_url contains a credential"),
        ("{id: novita/fp8, price: {input: 0}}", "novita/fp8: a price of 0 would attract all traffic"),
        ("{id: novita/fp8, api_key_env: sk-hunter2}", "expected the name of an environment variable"),
        ("{id: novita/fp8, api_key: hunter2}", "unknown key `api_key`; did you mean `api_key_env`?"),
        ("{id: novita/fp8, price: {hours: [{from_hour: 1, to_hour: 25, input: 1, output: 1}]}}", "an hour is above 24"),
        ("{id: novita/fp9}", "`provider` is missing; add `provider: ...`"),
        ('{id: "x\\r\\ny: z", provider: x, base_url: "http://x", model: x}', "id: must be printable ASCII"),
        ('{id: "größe", provider: x, base_url: "http://x", model: x}', "id: must be printable ASCII"),
        (
            adapted("m"),
            "x: with `adapter: litellm`, `model` must start with litellm's provider: `bedrock/converse/...`",
        ),
        (adapted("bedrock/m"), "x: bedrock needs `adapter_options: {region: ...}`"),
        (adapted("azure/m"), "x: azure needs `adapter_options: {api_version: ...}`"),
        (adapted("vertex_ai/m", "location: global"), "x: vertex_ai needs `adapter_options: {project: ...}`"),
        (adapted("azure/m", "api_version: 1, region: us"), "api_version: `1` is a number"),
        (
            adapted("azure/m", "api_version: a, region: us"),
            "adapter_options: azure has no `region`; it has",
        ),
        (adapted("azure/m", "key: hunter2"), "unknown key"),
        ("{id: novita/fp8, adapter_options: {region: us}}", "adapter_options need an adapter"),
        ("{id: novita/fp8, adapter: lightllm}", "adapter: unknown value `lightllm`; did you mean `litellm`?"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(folder: Path, line: str, problem: str) -> None:
    found = problems(folder, endpoints(line))
    assert problem in found
    assert "gateway.yaml:4:" in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "line",
    [
        "{id: x, provider: x, base_url: 'http://x', model: bedrock/m, adapter: litellm, api_key_env: K}",
        "{id: x, provider: x, base_url: null, model: null, adapter: litellm}",
    ],
)
def test_an_adapters_options_are_required_where_they_are_needed(folder: Path, line: str) -> None:
    assert endpoint(settings(folder, endpoints(line)), "x").adapter == "litellm"


def test_an_id_may_stand_once(folder: Path) -> None:
    text = endpoints("{id: novita/fp8, context: 1}", "{id: novita/fp8, context: 2}")
    assert problems(folder, text) == ("gateway.yaml:5:14: endpoint `novita/fp8` is defined twice; give each its own id")


def test_an_alias_names_one_model(folder: Path) -> None:
    text = "models: {a/b: {name: b, context: 1, created: 0, aliases: [deepseek-chat], endpoints: []}}"
    assert f"`deepseek-chat` already names {V32}" in problems(folder, text)


def test_usable_needs_status_address_model_price_and_key(folder: Path) -> None:
    lines = [
        "{id: retired, provider: p, base_url: http://h, model: m, price: {input: 1, output: 1}, status: retired}",
        "{id: no-address, provider: p, base_url: null, model: m, price: {input: 1, output: 1}}",
        "{id: placeholder, provider: p, base_url: 'http://{REGION}.h', model: m, price: {input: 1, output: 1}}",
        "{id: project, provider: p, base_url: 'http://h', model: vertex_ai/m, price: {input: 1, output: 1},"
        " adapter: litellm, adapter_options: {project: '{PROJECT}', location: global}}",
        "{id: no-model, provider: p, base_url: http://h, model: null, price: {input: 1, output: 1}}",
        "{id: no-price, provider: p, base_url: http://h, model: m}",
        "{id: no-key, provider: p, base_url: http://h, model: m, price: {input: 1, output: 1}, api_key_env: P_KEY}",
        "{id: blank, provider: p, base_url: http://h, model: m, price: {input: 1, output: 1}, api_key_env: B_KEY}",
        "{id: keyed, provider: p, base_url: http://h, model: m, price: {input: 1, output: 1}, api_key_env: K_KEY}",
        "{id: open, provider: p, base_url: http://h, model: m, price: {input: 1, output: 1}, status: uncertain}",
    ]
    found = settings(folder, endpoints(*lines), {"B_KEY": "  ", "K_KEY": "k\n"})

    assert [one.id for one in usable(found.models[0], found.secrets)] == ["keyed", "open"]
    assert found.secrets["K_KEY"] == "k"


def test_wanted_variables_leave_retired_endpoints_out() -> None:
    wanted = wanted_variables(load(None, {}).models)
    assert "NOVITA_API_KEY" in wanted
    assert "DEEPSEEK_API_KEY" not in wanted
    assert len(set(wanted)) == len(wanted)


def test_no_secret_shows_in_a_repr(folder: Path) -> None:
    text = "keys: [{tenant: a, key: hunter2}]\nredis: {url: 'redis://:hunter2@h'}\n"
    found = settings(folder, text, {"NOVITA_API_KEY": "hunter2"})

    assert found.secrets["NOVITA_API_KEY"] == "hunter2"
    for value in (found, found.secrets, found.keys):
        assert "hunter2" not in repr(value) + str(value)
    assert digest("hunter2").hex() not in repr(found)


def test_settings_travel_to_worker_processes() -> None:
    found = load(None, {"NOVITA_API_KEY": "k"})
    assert pickle.loads(pickle.dumps(found)) == found


def test_secrets_are_a_mapping() -> None:
    secrets = Secrets({"A": "1"})
    assert (dict(secrets), len(secrets), secrets.get("B")) == ({"A": "1"}, 1, None)
    assert repr(secrets) == "Secrets(A=***)"


# --- rules ------------------------------------------------------------------------------------------------------


def test_rules_are_read_in_their_order(folder: Path) -> None:
    found = settings(
        folder,
        """
        rules:
          - {when: {app: bot, tools: true}, policy: exacto}
          - {when: {key: local, prompt_tokens: "> 32000", stream: false}, policy: floor}
        """,
    )
    assert found.rules == (
        Rule(When(app="bot", tools=True), "exacto"),
        Rule(When(key="local", prompt_tokens=Bound(">", 32_000), stream=False), "floor"),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules: [{policy: floor}]", "gateway.yaml:1:9: `when` is missing"),
        ("rules: [{when: {tools: true}}]", "gateway.yaml:1:9: `policy` is missing"),
        ("rules:\n- {when: {}, policy: floor}", "gateway.yaml:2:10: when: matches every request; give a condition"),
        ("rules:\n- {when: {tool: true}, policy: x}", "gateway.yaml:2:11: unknown key `tool`; did you mean `tools`?"),
        ("rules:\n- {when: {stream: maybe}, policy: x}", "gateway.yaml:2:19: stream: `maybe` is text"),
        (
            "rules:\n- {when: {prompt_tokens: 32k}, policy: x}",
            'gateway.yaml:2:26: expected a comparison of tokens; write it as in `"> 32000"`',
        ),
    ],
)
def test_a_mistake_in_a_rule_has_its_place(folder: Path, text: str, problem: str) -> None:
    assert problem in problems(folder, text)


@pytest.mark.parametrize(
    ("bound", "holds"), [("> 5", [6]), (">= 5", [5, 6]), ("< 5", [4]), ("<= 5", [4, 5]), (">5", [6])]
)
def test_bounds(folder: Path, bound: str, holds: list[int]) -> None:
    (rule,) = settings(folder, f"rules: [{{when: {{prompt_tokens: '{bound}'}}, policy: x}}]").rules
    facts = Facts("", "local", False, 0, False)
    assert [size for size in (4, 5, 6) if rule.when.holds(facts._replace(prompt_tokens=size))] == holds


MISSPELT = [
    "redis: {url:redis://u:hunter2@h/0}",
    "redis: {url:redis//u:hunter2@h}",
    "redis: {url: {redis://u:hunter2@h: 1}}",
    "redis: {url: [redis://u:hunter2@h]}",
    "redis: redis://u:hunter2@h/0",
    "redis:\n  - redis://u:hunter2@h/0",
    "redis://u:hunter2@h/0: 1",
    "redis: {uri: redis://u:hunter2@h/0}",
    "redis: {url: rediss:/u:hunter2@h/0}",
    "redis: {url: redis://u:hunter2@h/0, url: redis://u:hunter2@h/0}",
    "redis: {url:redis://u:hunter2@h/0, url:redis://u:hunter2@h/0}",
    "port: redis://u:hunter2@h/0",
    "workers: redis://u:hunter2@h/0",
    "max_body: redis://u:hunter2@h/0",
    "keep_reasoning: redis://u:hunter2@h/0",
    "catalogue: 'redis://u:hunter2@h/0'",
    "host: [redis://u:hunter2@h/0]",
    "api_key:hunter2: 1",
    "models: {m: {endpoints: [{id: a, provider: b, api_key:hunter2}]}}",
    "models: {m: {endpoints: [{id: a, provider: b, base_url: 'https://u:hunter2@h', model: m}]}}",
    "*hunter2",
    "a: !hunter2 b",
]


@pytest.mark.parametrize("text", MISSPELT)
def test_a_password_shows_in_no_message_however_it_is_misspelt(folder: Path, text: str) -> None:
    assert "hunter2" not in problems(folder, text, {})


def test_a_password_shows_in_no_message_of_any_part() -> None:
    error = ConfigError("/x/redis:/u:hunter2@h: cannot be the state folder; write redis://user:password@host:port/0")
    assert str(error) == "***@h: cannot be the state folder; write redis://user:password@host:port/0"


LONG = "9" * 5000


@pytest.mark.parametrize("number", ["9" * 400, LONG, f"{LONG}MiB", "1" * 20 + "GiB", "1e999", f"0.{LONG}"])
@pytest.mark.parametrize("field", ["port", "workers", "max_body"])
def test_an_absurd_number_is_a_mistake_like_any_other(folder: Path, field: str, number: str) -> None:
    assert f"{field}: " in problems(folder, f"{field}: {number}", {})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ('base_url: "https://h/v1 "', "base_url has a space"),
        ('base_url: "https://h/v 1"', "base_url has a space"),
        ('base_url: "https://h/vé"', "base_url has a space, a fragment or a character outside ASCII"),
        ('base_url: "https://münchen/v1"', "base_url has a space, a fragment or a character outside ASCII"),
        ('base_url: "https://h/v1\\n"', "base_url has a space"),
        ('base_url: "https://h/v1#x"', "base_url has a space, a fragment"),
        ('base_url: "https://h:99999/v1"', "base_url has a port outside 1 to 65535"),
        ('base_url: "https://h:0/v1"', "base_url has a port outside 1 to 65535"),
        ('base_url: "https://h:x/v1"', "base_url has a port outside 1 to 65535"),
        ('base_url: "https://h/${X}"', "`${X}` is replaced only in redis.url"),
        ('model: "${MODEL}"', "gateway.yaml:4:"),
        ("retires: 2026-13-45", "retires: `2026-13-45` is not a valid date"),
        ("price: {input: 1, output: 1, as_of: 2026-02-30}", "as_of: `2026-02-30` is not a valid date"),
        ("priors: {as_of: 2026-00}", "as_of: `2026-00` is not a valid date"),
        ("supports: [function_calling]", "unknown value `function_calling`"),
        ("<<: {context: 1}", "merge keys (`<<`) are not supported"),
    ],
)
def test_an_endpoint_that_cannot_be_tried_is_refused_with_its_place(folder: Path, fields: str, problem: str) -> None:
    found = problems(folder, endpoints(f"{{id: novita/fp8, {fields}}}"), {})
    assert problem in found
    assert "gateway.yaml:4:" in found


@pytest.mark.parametrize("date", ["2026-11-29", "2026-11", "unknown", "the third quarter"])
def test_a_date_or_words_are_taken(folder: Path, date: str) -> None:
    settings(folder, endpoints(f"{{id: novita/fp8, price: {{as_of: {date}}}, retires: {date}}}"))


@pytest.mark.parametrize("key", ["two\nlines", "two words", "tab\there", "schlüssel"])
def test_a_clients_key_that_no_header_can_carry_is_refused_and_not_shown(folder: Path, key: str) -> None:
    told = problems(folder, "keys: [{tenant: a, key_env: A_KEY}]", {"A_KEY": key, "GATEWAY_API_KEYS": f"b:{key}"})
    assert "tenant `a`: A_KEY must be printable ASCII" in told
    assert "GATEWAY_API_KEYS: item 1 must be printable ASCII" in told
    assert key not in told


def test_spaces_around_a_tenant_and_its_key_are_no_part_of_them(folder: Path) -> None:
    found = settings(folder, "", {"GATEWAY_API_KEYS": "ops : one, dev: two"})
    assert found.keys == (Key("ops", digest("one")), Key("dev", digest("two")))


def test_a_document_that_is_nested_without_end_is_refused(folder: Path) -> None:
    found = problems(folder, "a: " + "[" * 100_000, {})
    assert found == "gateway.yaml:1:203: is nested deeper than 200 levels; use fewer"


def test_aliases_of_aliases_cost_no_time(folder: Path) -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert "unknown key" in problems(folder, f"l0: &l0 ['${{NAME}}']\n{levels}")


def test_a_fifo_is_no_file_and_holds_up_nothing(folder: Path) -> None:
    os.mkfifo(folder / "fifo.yaml")
    with pytest.raises(ConfigError, match="is not a regular file"):
        load(folder / "fifo.yaml", {})


def test_what_a_shell_puts_in_place_of_a_file_is_read() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"port: 7\n")
    os.close(write_end)
    assert load(Path(f"/dev/fd/{read_end}"), {}).port == 7
    os.close(read_end)
