"""The command line as users and scripts meet it: help, exit codes, one line for each mistake, and no secrets."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import click
import pytest

from gateway import __version__
from gateway.cli import app, main
from gateway.compiled import BUILD
from gateway.config import load, sufficient_variables
from gateway.sim.demofleet import FLEET, gateway_config
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger import Ledger
from tests.sim.test_fitted import attempt
from tests.support.gateway import DIRECT_ONLY, Gateway, gateway_command, write_policy
from tests.support.host import ScriptedHost, answers, completion

COMMANDS = sorted(app.commands.items())
NAMES = [name for name, _ in COMMANDS]
DOCS = (Path(__file__).parents[1] / "docs" / "cli.md").read_text(encoding="utf-8")
SECRET = "sk-that-nobody-may-see"
SECOND = """
models:
  deepseek/v4:
    name: V4
    context: 1048576
    aliases: [v4]
    endpoints: [{id: v4/one, provider: p, base_url: http://h, model: m, price: {input: 1, output: 2}}]
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    errors: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `gateway ARGUMENTS` in this process, in an empty folder and with no variables but PATH and those given."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **variables: str) -> Ended:
        monkeypatch.setattr(
            os, "environ", {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLUMNS": "80"} | variables
        )
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class TestHelp:
    @pytest.mark.parametrize("name", NAMES)
    def test_every_command_shows_an_example_within_80_columns(self, run: Run, name: str) -> None:
        ended = run(name, "--help")
        assert ended.code == 0
        example = ended.out.partition("Example: ")[2].partition("\n\n")[0]
        assert f"gateway {name}" in example
        assert len(example.splitlines()) == 1, "a command that is wrapped cannot be copied"
        assert max(map(len, ended.out.splitlines())) <= 80

    def test_the_program_lists_its_commands_within_80_columns(self, run: Run) -> None:
        ended = run("--help")
        listed = ended.out.partition("\nCommands:\n")[2]
        assert [line.split()[0] for line in listed.splitlines()] == NAMES
        assert "..." not in listed
        assert max(map(len, ended.out.splitlines())) <= 80

    def test_without_a_command_it_is_shown_too(self, run: Run) -> None:
        assert run() == Ended(2, "", run("--help").out)

    def test_the_version(self, run: Run) -> None:
        assert run("--version") == Ended(0, f"gateway {__version__} ({BUILD})\n", "")

    @pytest.mark.parametrize(("name", "command"), COMMANDS, ids=NAMES)
    def test_every_flag_is_documented(self, name: str, command: click.Command) -> None:
        section = DOCS.split(f"\n## gateway {name}\n")[1].split("\n## ")[0]
        documented = re.findall(r"^\| `(--[a-z-]+)` \|", section, re.MULTILINE)
        assert documented == [flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")]

    @pytest.mark.parametrize(
        "words",
        [
            "GATEWAY_STATE, else ~/.local/state/llm-routing-gateway",
            "Listen beyond loopback without keys: anyone who can reach it spends your money.",
            "0 picks a free one",
        ],
    )
    def test_help_and_documentation_of_serve_agree(self, words: str) -> None:
        helps = " ".join(getattr(parameter, "help", None) or "" for parameter in dict(COMMANDS)["serve"].params)
        section = DOCS.split("\n## gateway serve\n")[1].split("\n## ")[0].replace("`", "")
        assert words in helps
        assert words in section

    def test_every_command_is_documented(self) -> None:
        assert sorted(re.findall(r"^## gateway (\w+)$", DOCS, re.MULTILINE)) == NAMES
        assert sorted(re.findall(r"^\| `gateway (\w+)` \|", DOCS, re.MULTILINE)) == NAMES


class TestPrices:
    def test_it_shows_the_prices_in_force_and_where_they_are_from(self, run: Run, tmp_path: Path) -> None:
        book = tmp_path / ".local" / "state" / "llm-routing-gateway" / "prices.yaml"
        book.parent.mkdir(parents=True)
        book.write_text(
            "endpoints:\n  novita/fp8: {changes: [{at: 2026-11-18, source: me, input: 0.3, output: 0.5}]}\n"
            "  gone: {flags: [{at: 2026-11-18, kind: zero, text: free}]}\n"
        )
        ended = run("prices")
        assert ended.code == 0
        assert re.search(r"^novita/fp8 +0.3 +- +0.5 +2026-11-18 +me$", ended.out, re.MULTILINE)
        assert re.search(r"^deepinfra/fp4 +0.26 +0.13 +0.38 +2026-11 +catalogue$", ended.out, re.MULTILINE)
        assert "gone: is in prices.yaml, but not in the configuration" in ended.out
        assert max(map(len, ended.out.splitlines())) <= 80

    def test_check_explain_and_prices_agree_on_the_price(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        (tmp_path / "gateway.yaml").write_text("state: state\nprices: {file: prices.yaml}\n")
        (tmp_path / "prices.yaml").write_text(
            "endpoints: {novita/fp8: {changes: [{at: 2026-11-18, source: me, input: 30, output: 50}]}}\n"
        )
        assert re.search(r"^novita/fp8 +30 +- +50 +2026-11", run("check").out, re.MULTILINE)
        plan = json.loads(run("explain", "--prompt-tokens", "1000", "--json").out)
        (novita,) = [one for one in plan["ranked"] if one["endpoint"] == "novita/fp8"]
        assert novita["input_usd"] == pytest.approx(0.03, rel=0.2)

    def test_a_dry_run_reads_the_installed_map_and_writes_nothing(self, run: Run, tmp_path: Path) -> None:
        ended = run("prices", "sync", "--from", "litellm", "--dry-run")
        assert (ended.code, ended.errors) == (0, "")
        assert re.search(r"^volcengine .* not taken$", ended.out, re.MULTILINE)
        assert "dry run: nothing was written" in ended.out
        assert max(map(len, ended.out.splitlines())) <= 80
        assert list(tmp_path.iterdir()) == []

    def test_a_sync_writes_the_file_and_says_where(self, run: Run, tmp_path: Path) -> None:
        ended = run("prices", "sync", "--from", "litellm", "--state", "state")
        assert (ended.code, (tmp_path / "state" / "prices.yaml").exists()) == (0, True)
        assert "written: state/prices.yaml" in ended.out

    def test_a_host_that_cannot_be_read_is_a_negative_result(self, run: Run, tmp_path: Path) -> None:
        endpoint = {"id": "novita/fp8", "base_url": "http://127.0.0.1:1/v1"}
        models = {"deepseek/deepseek-v3.2": {"endpoints": [endpoint]}}
        (tmp_path / "gateway.yaml").write_text(json.dumps({"models": models}))
        ended = run("prices", "sync", "--from", "hosts", "--dry-run", NOVITA_API_KEY=SECRET)
        assert ended.code == 1
        assert "not read: novita/fp8: /models cannot be reached" in ended.out
        assert SECRET not in ended.out

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (("show", "--dry-run"), "belong to `gateway prices sync`"),
            (("sync", "--from", "lite"), "`lite` is not a file; write litellm, hosts, or the path of a file of prices"),
            (("sync", "--accept", "novita"), "there is no endpoint `novita` to sync; did you mean `novita/fp8`?"),
            (("synch",), "'synch' is not one of"),
        ],
    )
    def test_mistakes_are_named(self, run: Run, arguments: tuple[str, ...], why: str) -> None:
        ended = run("prices", *arguments)
        assert ended.code == 2
        assert why in ended.errors


class TestServe:
    def test_without_any_key_it_names_the_variables(self, run: Run) -> None:
        ended = run("serve")
        assert ended.code == 2
        assert all(name in ended.errors for name in sufficient_variables(load(None, {}).models))
        assert "gateway demo" in ended.errors

    def test_a_key_that_does_not_help_is_reported_with_its_reason(self, run: Run) -> None:
        ended = run("serve", STREAMLAKE_API_KEY=SECRET, AZURE_AI_API_KEY=SECRET, BASETEN_API_KEY=SECRET)
        assert ended.code == 2
        assert ended.errors.splitlines()[1:] == [
            "gateway: STREAMLAKE_API_KEY is set, but streamlake/fp8 cannot be used: lacks model, price",
            "gateway: AZURE_AI_API_KEY is set, but azure cannot be used: fill in {RESOURCE}",
            "gateway: BASETEN_API_KEY is set, but baseten cannot be used: retired",
        ]
        assert SECRET not in ended.errors

    def test_a_package_that_an_endpoint_needs_is_named_before_anything_starts(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.upstream.litellm_adapter.find_spec", lambda name: None)
        endpoint = {
            "id": "own",
            "provider": "own",
            "base_url": "http://127.0.0.1:1",
            "model": "vertex_ai/m",
            "adapter": "litellm",
            "adapter_options": {"project": "p", "location": "global"},
            "api_key_env": "GOOGLE_APPLICATION_CREDENTIALS",
            "price": {"input": 0.62, "output": 1.85},
        }
        models = {"deepseek/deepseek-v3.2": {"endpoints": [endpoint]}}
        (tmp_path / "gateway.yaml").write_text(json.dumps({"models": models}))
        ended = run("serve", GOOGLE_APPLICATION_CREDENTIALS=SECRET)
        assert ended == Ended(2, "", ended.errors)
        assert "install llm-routing-gateway[vertex]" in ended.errors

    def test_beyond_loopback_it_wants_keys(self, run: Run) -> None:
        ended = run("serve", "--host", "0.0.0.0", NOVITA_API_KEY=SECRET)
        assert ended == Ended(2, "", ended.errors)
        assert re.fullmatch(r"gateway: listening on 0\.0\.0\.0 without keys .* or pass --no-auth\n", ended.errors)

    async def test_beyond_loopback_without_keys_when_allowed(self, tmp_path: Path) -> None:
        hosts = {"own/host": "http://127.0.0.1:1"}
        async with gateway_command(tmp_path, hosts, "--host", "0.0.0.0", "--no-auth") as running:
            assert (await running.client.get("/health/ready")).status_code == 200

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_mistake_is_reported_once_before_anything_starts(self, run: Run, tmp_path: Path, workers: str) -> None:
        write_policy(tmp_path / "policies", "mine", pick={"hwo": "best"})
        ended = run("serve", "--policies", "policies", "--workers", workers, NOVITA_API_KEY=SECRET)
        place = f"{tmp_path}/policies/mine.yaml:3:3"
        assert ended == Ended(2, "", f"gateway: {place}: unknown key `hwo`; did you mean `how`?\n")

    def test_a_taken_port_is_reported_in_one_line(self, run: Run, taken: int) -> None:
        ended = run("serve", "--port", str(taken), "--state", "state", NOVITA_API_KEY=SECRET)
        why = (
            f"cannot listen on 127.0.0.1:{taken}: Address already in use; choose another --port, or 0 for any free one"
        )
        assert ended == Ended(2, "", f"gateway: {why}\n")

    def test_an_address_that_is_not_this_machines_is_reported_in_one_line(self, run: Run) -> None:
        ended = run("serve", "--host", "192.0.2.1", "--no-auth", NOVITA_API_KEY=SECRET)
        assert ended.code == 2
        assert re.fullmatch(
            r"gateway: cannot listen on 192\.0\.2\.1:8080: .*; choose another --host or --port\n", ended.errors
        )

    def test_a_store_of_another_kind_is_reported_without_its_password(self, run: Run) -> None:
        ended = run("serve", "--redis", f"http://:{SECRET}@127.0.0.1", NOVITA_API_KEY=SECRET)
        assert ended.code == 2
        assert "redis://" in ended.errors
        assert SECRET not in ended.errors

    def test_a_password_on_the_command_line_is_warned_of(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gateway.yaml").write_text("default_policy: nitr\n")  # so that it ends
        ended = run("serve", "--redis", f"redis://:{SECRET}@127.0.0.1", NOVITA_API_KEY=SECRET)
        assert "warning: anyone on this machine can read the password in --redis" in ended.errors
        assert SECRET not in ended.errors

    def test_a_password_by_its_variable_is_not_on_the_command_line(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gateway.yaml").write_text("default_policy: nitr\n")  # so that it ends
        url = "redis://:${REDIS_PASSWORD}@127.0.0.1"
        ended = run("serve", "--redis", url, NOVITA_API_KEY=SECRET, REDIS_PASSWORD=SECRET)
        assert ended == Ended(2, "", "gateway: default_policy: there is no policy `nitr`; did you mean `nitro`?\n")
        unset = run("serve", "--redis", url, NOVITA_API_KEY=SECRET)
        assert unset.errors == "gateway: GATEWAY_REDIS_URL: REDIS_PASSWORD is not set; set it, or write it out\n"

    @pytest.mark.parametrize("key", ["sk-a\nsk-b", "sk a"])
    def test_what_keeps_it_from_serving_is_reported_by_check_in_the_same_words(self, run: Run, key: str) -> None:
        served, checked = run("serve", NOVITA_API_KEY=key), run("check", NOVITA_API_KEY=key)
        assert (served.code, checked.code) == (2, 1)
        assert "NOVITA_API_KEY must be printable ASCII" in served.errors
        assert served.errors == checked.errors

    def test_a_default_policy_that_is_not_there(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gateway.yaml").write_text("default_policy: nitr\n")
        ended = run("serve", NOVITA_API_KEY=SECRET)
        assert ended == Ended(2, "", "gateway: default_policy: there is no policy `nitr`; did you mean `nitro`?\n")


class TestCheck:
    def test_a_sound_configuration(self, run: Run) -> None:
        ended = run("check", NOVITA_API_KEY=SECRET, GATEWAY_API_KEYS=f"app:{SECRET}")
        assert (ended.code, ended.errors) == (0, "")
        assert ended.out.startswith("deepseek/deepseek-v3.2: 1 of ")
        assert ended.out.endswith("\nok\n")
        assert SECRET not in ended.out

    def test_without_an_endpoint_it_is_not_ok(self, run: Run) -> None:
        ended = run("check")
        assert (ended.code, ended.errors) == (1, "")
        assert "warning: deepseek/deepseek-v3.2: no endpoint is in use; set at least one of" in ended.out
        last = "the files are valid, but `gateway serve` cannot start: no endpoint is in use"
        assert ended.out.splitlines()[-1] == last

    def test_warnings_change_no_exit_code(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gateway.yaml").write_text(SECOND)  # of two models, one has an endpoint in use
        ended = run("check")
        assert "warning: deepseek/deepseek-v3.2: no endpoint is in use" in ended.out
        assert (ended.code, ended.out.splitlines()[-1]) == (0, "ok")

    def test_endpoints_in_use_come_first_and_retired_ones_last(self, run: Run) -> None:
        rows = run("check", BASETEN_API_KEY=SECRET, VULTR_API_KEY=SECRET).out.partition("\n\n")[0].splitlines()[3:]
        uses = [row.split()[5:] for row in rows]
        assert (rows[0].split()[0], uses[0]) == ("vultr", ["yes"])
        assert [use for use in uses if use == ["retired"]] == uses[-4:]

    def test_nothing_is_cut_in_80_columns(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gateway.yaml").write_text(gateway_config({host.id: "http://127.0.0.1:1" for host in FLEET}))
        for ended in (run("check"), run("check", "--config", "/dev/null"), run("explain", "--prompt-tokens", "90000")):
            assert "…" not in ended.out
            assert max(map(len, ended.out.splitlines())) <= 80

    def test_a_broken_policy_is_a_problem_with_its_place(self, run: Run, tmp_path: Path) -> None:
        write_policy(tmp_path / "policies", "mine", score={"value_of_time": 3})
        ended = run("check", "--policies", "policies")
        assert (ended.code, ended.out) == (1, "")
        place = f"{tmp_path}/policies/mine.yaml:3:18"
        assert ended.errors == f"gateway: {place}: value_of_time: `3` needs a unit, as in `$3/h`\n"

    def test_every_problem_has_a_line(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gateway.yaml").write_text("prot: 1\nworkers: many\n")
        ended = run("check")
        assert ended.code == 1
        assert [line.split(":")[1:4] for line in ended.errors.splitlines()] == [
            [" gateway.yaml", "1", "1"],
            [" gateway.yaml", "2", "10"],
        ]

    def test_names_are_looked_up_across_files(self, run: Run, tmp_path: Path) -> None:
        write_policy(tmp_path / "policies", "mine", require={"only": ["novta/fp8"]})
        ended = run("check", "--policies", "policies")
        why = "require.only: there is no endpoint or provider `novta/fp8`; did you mean `novita/fp8`?"
        assert ended == Ended(1, "", f"gateway: {tmp_path}/policies/mine.yaml: {why}\n")

    def test_a_file_that_is_not_there(self, run: Run) -> None:
        ended = run("check", "--config", "nowhere.yaml")
        assert ended.code == 1
        assert ended.errors.startswith("gateway: nowhere.yaml:1:1: cannot be read (No such file or directory)")

    def test_a_flag_that_is_not_there(self, run: Run) -> None:
        ended = run("check", "--polices", "x")
        assert (ended.code, ended.out) == (2, "")
        assert ended.errors.endswith("\nError: No such option '--polices'. Did you mean '--policies'?\n")


class TestExplainOffline:
    def test_endpoints_are_ranked_from_published_figures(self, run: Run) -> None:
        ended = run("explain", "--model", "deepseek-v3.2:floor", "--prompt-tokens", "12000")
        assert (ended.code, ended.errors) == (0, "")
        assert ended.out.startswith("deepseek/deepseek-v3.2, policy floor: about 12,0")
        assert "use a running gateway (--url)" in ended.out

    def test_it_knows_which_keys_are_set_and_says_so(self, run: Run) -> None:
        none, one = run("explain"), run("explain", NOVITA_API_KEY=SECRET)
        assert "\nNo endpoint is in use, because no API key is set: planned as if all were set.\n" in none.out
        assert "\nOnly with the endpoints in use: those whose API key is set.\n" in one.out
        plans = [
            json.loads(run("explain", "--json", **keys).out) for keys in ({}, {"NOVITA_API_KEY": SECRET}) for _ in (0,)
        ]
        assert [plan["keys"] for plan in plans] == ["assumed", "set"]
        assert [one["endpoint"] for one in plans[1]["ranked"]] == ["novita/fp8"]
        assert len(plans[0]["ranked"]) > 10

    def test_what_it_ranks_by_is_in_the_table(self, run: Run) -> None:
        """Two endpoints of nearly the same price are told apart by what their re-reads will cost."""
        asked = ("explain", "--model", "deepseek-v3.2:floor", "--prompt-tokens", "12000")
        table, plan = run(*asked).out, json.loads(run(*asked, "--json").out)
        parts = ("reread_usd", "toll_usd", "quality_usd", "miss_usd")
        later = {one["endpoint"]: sum(one[part] for part in parts) for one in plan["ranked"]}
        assert len(set(later.values())) > 1
        for endpoint, usd in later.items():
            row = re.search(rf"^{endpoint} .*", table, re.MULTILINE)
            assert row
            assert float(row[0].split()[4]) == pytest.approx(usd, abs=1e-6)
        assert "\nscore = in + out + later (re-reads, toll, bad tools, misses) + time + failures\n" in table

    def test_when_no_endpoint_can_serve_it_the_reasons_are_reported(self, run: Run) -> None:
        asked = ("explain", "--prompt-tokens", "1000000")
        ended, as_json = run(*asked), run(*asked, "--json")
        assert (ended.code, ended.errors, as_json.code) == (1, "", 1)
        assert ended.out.splitlines()[1] == "no endpoint can serve this request:"
        assert "\n  dropped: baidu/fp8: context: " in ended.out
        assert "best first" not in ended.out
        assert json.loads(as_json.out)["ranked"] == []

    def test_every_dropped_endpoint_has_its_rule(self, run: Run) -> None:
        out = run("explain", "--model", "deepseek-v3.2:pinned").out
        assert re.search(r"^  dropped: baidu/fp8: pick\.endpoint: .*", out, re.MULTILINE)

    def test_json_is_the_plan(self, run: Run) -> None:
        plan = json.loads(run("explain", "--json", "--tools", "--thinking", "--max-tokens", "10").out)
        assert (plan["policy"], plan["expected_output_tokens"]) == ("balanced", 10)
        assert plan["ranked"][0]["score_usd"] > 0

    def test_a_request_from_a_file_or_from_standard_input(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = json.dumps({"model": "deepseek-v3.2:nitro", "messages": [{"role": "user", "content": "Hi"}]})
        (tmp_path / "request.json").write_text(body)
        monkeypatch.setattr(sys, "stdin", StringIO(body))
        from_file, from_stdin = (
            json.loads(run("explain", "--json", "--request", at).out) for at in ("request.json", "-")
        )
        assert from_file["policy"] == "nitro"
        assert [one["endpoint"] for one in from_file["ranked"]] == [one["endpoint"] for one in from_stdin["ranked"]]

    @pytest.mark.parametrize(("text", "why"), [("{", "is not a request body"), ("[]", "must be a JSON object")])
    def test_a_request_that_is_none(self, run: Run, tmp_path: Path, text: str, why: str) -> None:
        (tmp_path / "request.json").write_text(text)
        ended = run("explain", "--request", "request.json")
        assert (ended.code, len(ended.errors.splitlines())) == (2, 1)
        assert why in ended.errors

    def test_of_several_models_the_first_or_the_one_that_is_named(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gateway.yaml").write_text(SECOND)
        first, named = run("explain").out, run("explain", "--model", "v4:floor").out
        assert first.startswith("deepseek/deepseek-v3.2, policy balanced: ")
        assert named.startswith("deepseek/v4, policy floor: ")
        assert "v4/one" in named
        assert "novita/fp8" not in named
        (tmp_path / "gateway.yaml").write_text(f"catalogue: false\n{SECOND}")
        assert run("explain").out.startswith("deepseek/v4, policy balanced: ")

    def test_without_any_model(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gateway.yaml").write_text("catalogue: false\n")
        ended = run("explain")
        assert (ended.code, ended.out) == (2, "")
        assert ended.errors == "gateway: there is no model; add one under `models:` in gateway.yaml\n"

    def test_a_policy_that_is_not_there(self, run: Run) -> None:
        ended = run("explain", "--model", "deepseek-v3.2:fastest")
        assert ended.code == 2
        assert ended.errors.startswith("gateway: there is no policy `fastest`; known policies: balanced, ")


class TestExplainLive:
    @staticmethod
    async def explained(*arguments: str, **variables: str) -> Ended:
        """`gateway explain` as a process, while the gateway that it asks runs in this one."""
        command = (sys.executable, "-m", "gateway", "explain", *arguments)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=os.environ | variables)
        out, errors = await asyncio.wait_for(process.communicate(), 60)
        return Ended(process.returncode or 0, out.decode(), errors.decode())

    @DIRECT_ONLY
    async def test_a_running_gateway_is_queried(self, gateway: Gateway) -> None:
        """`explain` is no hot route: no sink of its own serves it."""
        keys = [{"tenant": "app", "key": SECRET}]
        async with (
            ScriptedHost(answers(200, completion("Hello"))) as host,
            gateway({"own/host": host.url}, keys=keys) as running,
        ):
            asked = await self.explained("--url", running.url, "--json", GATEWAY_API_KEY=SECRET)
            refused = await self.explained("--url", running.url, GATEWAY_API_KEY="")
            bases = [
                (await self.explained("--url", running.url + base, GATEWAY_API_KEY=SECRET)).code
                for base in ("/", "/v1", "/api/v1/")
            ]
        assert asked.code == 0
        assert bases == [0, 0, 0]  # whatever clients have as their base URL
        assert [one["endpoint"] for one in json.loads(asked.out)["ranked"]] == ["own/host"]
        assert refused.code == 2
        assert re.fullmatch(r"gateway: --url 127.0.0.1:\d+: 401 .*; set GATEWAY_API_KEY .*\n", refused.errors)
        assert SECRET not in asked.out + asked.errors + refused.errors
        assert host.requests == []

    async def test_somebody_else_answers_there(self) -> None:
        async with ScriptedHost(answers(200, ["welcome"])) as host:
            ended = await self.explained("--url", host.url)
        assert (ended.code, ended.errors) == (
            2,
            f"gateway: --url 127.0.0.1:{host.port}: the server there is not a gateway\n",
        )

    async def test_a_redirect_is_not_followed_with_the_key(self) -> None:
        async with ScriptedHost(answers(200, {})) as other:
            moved = answers(307, b"", {"location": f"{other.url}/v1/models"})
            async with ScriptedHost(moved) as host:
                ended = await self.explained("--url", host.url, GATEWAY_API_KEY=SECRET)
        assert (ended.code, ended.errors.startswith(f"gateway: --url 127.0.0.1:{host.port}: 307")) == (2, True)
        assert other.accepted == 0

    async def test_loopback_is_reached_without_the_environments_proxy(self) -> None:
        async with ScriptedHost(answers(200, ["welcome"])) as host:
            ended = await self.explained("--url", host.url, HTTP_PROXY="http://127.0.0.1:1", http_proxy="socks5://x")
        assert ended.errors == f"gateway: --url 127.0.0.1:{host.port}: the server there is not a gateway\n"

    def test_an_unreachable_address_is_reported(self, run: Run) -> None:
        ended = run("explain", "--url", f"http://user:{SECRET}@127.0.0.1:1")
        assert ended.code == 2
        assert re.fullmatch(r"gateway: --url 127\.0\.0\.1:1: cannot be reached \(.*\); give .*\n", ended.errors)

    def test_an_address_that_is_none(self, run: Run) -> None:
        ended = run("explain", "--url", "127.0.0.1:8080")
        assert (ended.code, len(ended.errors.splitlines())) == (2, 1)


@pytest.mark.parametrize("loaded", ["click", "uvicorn"])
def test_an_early_ctrl_c_ends_it_without_a_traceback(tmp_path: Path, loaded: str) -> None:
    """While the command line is loaded, or the server."""
    (tmp_path / f"{loaded}.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    environ = os.environ | {"PYTHONPATH": str(tmp_path), "NOVITA_API_KEY": SECRET}
    command = [sys.executable, "-m", "gateway", "serve", "--state", str(tmp_path / "state")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")


class TestDemo:
    def test_once_and_traffic_exclude_each_other(self, run: Run) -> None:
        ended = run("demo", "--once", "--traffic")
        assert (ended.code, ended.out) == (2, "")
        assert ended.errors.startswith("Usage: gateway demo [OPTIONS]\n")
        assert ended.errors.endswith("choose one of the two\n")

    @pytest.mark.parametrize("wrong", [("--port", "65536"), ("--port", "http"), ("--host-speed", "-1")])
    def test_a_number_out_of_range_is_named(self, run: Run, wrong: tuple[str, str]) -> None:
        ended = run("demo", *wrong)
        assert (ended.code, ended.out) == (2, "")
        assert f"Invalid value for '{wrong[0]}': " in ended.errors


class TestWhatif:
    FEW = ("whatif", "--limit", "40", "--seeds", "2")

    def test_a_table_within_80_columns(self, run: Run) -> None:
        ended = run(*self.FEW, "--fleet", "wide", "--policy", "floor", "--policy", "nitro", "--cap", "30%")
        assert (ended.code, ended.errors) == (0, "")
        assert max(map(len, ended.out.splitlines())) <= 80
        assert ended.out.startswith("40 requests, ")
        assert re.search(r"^floor +0\.\d{4}±\.\d{4} +0\.\d{4}±\.\d{4} ", ended.out, re.MULTILINE)
        for name in ("nitro", "· openrouter", "· sticky-cost", "· litellm-shuffle", "(oracle floor)"):
            assert re.search(rf"^{re.escape(name)} ", ended.out, re.MULTILINE)

    def test_without_flags_it_is_the_setting_of_the_documents(self, run: Run) -> None:
        """The cheapest policy and the fastest one are what they are called, and chance is the dearest of all."""
        ended = run("whatif", "--seeds", "3", "--json")
        report = json.loads(ended.out)
        assert (ended.errors, report["trace"], report["fleet"]) == ("", "a sample of real traffic", "real")
        assert (report["requests"], report["cap"], len(report["hosts"])) == (600, 1.0, 6)
        figures = {one["name"]: one["figures"] for one in report["outcomes"]}
        assert list(figures) == ["balanced", "floor", "nitro", "openrouter", "sticky-cost", "litellm-shuffle"]
        by_price = sorted(figures, key=lambda name: figures[name]["blended_price"]["mean"])
        assert by_price.index("floor") < by_price.index("openrouter") < by_price.index("litellm-shuffle") == 5
        assert figures["nitro"]["ttft_p50"]["mean"] < figures["openrouter"]["ttft_p50"]["mean"]

    def test_other_routers_by_name(self, run: Run) -> None:
        ended = run(
            *self.FEW, "--policy", "floor", "--baseline", "least-in-flight", "--baseline", "1/price^2", "--json"
        )
        names = [one["name"] for one in json.loads(ended.out)["outcomes"]]
        assert names == ["floor", "least-in-flight", "1/price^2"]

    def test_json_and_a_picture(self, run: Run, tmp_path: Path) -> None:
        ended = run(*self.FEW, "--fleet", "real", "--json", "--svg", "out.svg")
        report = json.loads(ended.out)
        kinds = [one["kind"] for one in report["outcomes"]]
        assert kinds == ["policy"] * 3 + ["baseline"] * 3
        assert (tmp_path / "out.svg").read_text().startswith("<svg ")

    def test_the_same_seeds_tell_the_same(self, run: Run) -> None:
        assert run(*self.FEW, "--fleet", "real") == run(*self.FEW, "--fleet", "real")

    def test_a_file_of_ones_own(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "trace.jsonl").write_text('{"t": 0, "input_tokens": 9, "output_tokens": 9, "prefix_hashes": []}\n')
        write_policy(tmp_path, "mine", pick={"how": "best"})
        ended = run("whatif", "--trace", "trace.jsonl", "--policy", "mine.yaml", "--fleet", "real", "--seeds", "1")
        assert ended.out.startswith("1 requests, 18 tokens, 6 hosts")

    def test_a_ledger_of_two_models(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gateway.yaml").write_text(SECOND)
        ledger = Ledger(StateFolder(tmp_path).ledger)
        for name, model in (("novita/fp8", "deepseek/deepseek-v3.2"), ("v4/one", "deepseek/v4")):
            for _ in range(20):
                ledger.append(attempt(name, model=model))
        ledger.close()
        asked = (*self.FEW, "--seeds", "1", "--state", str(tmp_path), "--json")
        ended = run(*asked)
        assert (ended.code, ended.out) == (2, "")
        assert ended.errors.endswith(
            f"{tmp_path} has answers of deepseek/deepseek-v3.2 and deepseek/v4; name one with `--model`\n"
        )
        assert json.loads(run(*asked, "--model", "v4").out)["hosts"] == ["v4/one"]
        assert json.loads(run(*asked, "--model", "deepseek-v3.2").out)["hosts"] == ["novita/fp8"]

    def test_a_ledger_that_knows_one_host_only(self, run: Run, tmp_path: Path) -> None:
        ledger = Ledger(StateFolder(tmp_path).ledger)
        for _ in range(20):
            ledger.append(attempt("novita/fp8", model="deepseek/deepseek-v3.2"))
        ledger.close()
        ended = run(*self.FEW, "--state", str(tmp_path))
        assert re.match(r"40 requests, [\d,]+ tokens, 1 host; ", ended.out)
        assert re.fullmatch(r"gateway: warning: 1 of 1 endpoints .* has 20 .* use `--fleet real`\n", ended.errors)

    @pytest.mark.parametrize(
        ("arguments", "mistake"),
        [
            (("--state", "empty"), "/empty: has no answers yet; name another folder with `--state`, or use `--fleet r"),
            (("--baseline", "openroute"), "unknown router; did you mean `openrouter`?"),
            (("--fleet", "real", "--policy", "flor"), "did you mean `floor`?"),
            (("--fleet", "reel"), "did you mean `real`?"),
            (("--fleet", "real", "--model", "deepseek-v3"), "unknown model; did you mean `deepseek-v3.2`?"),
            (
                ("--fleet", "real", "--trace", "none.jsonl"),
                "none.jsonl: cannot be read (No such file or directory); record a trace with `gateway serve --record "
                "FILE`, or leave out `--trace` to replay the shipped sample",
            ),
            (("--fleet", "real", "--cap", "0.3"), "`0.3` is not a share; write it as in `30%`"),
        ],
    )
    def test_a_mistake_is_one_line(self, run: Run, arguments: tuple[str, ...], mistake: str) -> None:
        ended = run("whatif", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert mistake in ended.errors
        assert "Traceback" not in ended.errors

    def test_the_ledger_of_another_configuration(self, run: Run, tmp_path: Path) -> None:
        """The demo's, whose endpoints are not in the catalogue: its gateway.yaml is needed, too."""
        ledger = Ledger(StateFolder(tmp_path).ledger)
        for _ in range(20):
            ledger.append(attempt("sim-novita/fp8", model="deepseek/deepseek-v3.2"))
        ledger.close()
        ended = run("whatif", "--state", str(tmp_path))
        assert (ended.code, ended.out) == (2, "")
        assert ended.errors == (
            f"gateway: {tmp_path}: has answers of sim-novita/fp8, which are not in the configuration; "
            "give that gateway's gateway.yaml with `--config`, or use `--fleet real`\n"
        )

    def test_a_ledger_with_too_few_answers(self, run: Run, tmp_path: Path) -> None:
        ledger = Ledger(StateFolder(tmp_path).ledger)
        ledger.append(attempt("novita/fp8", model="deepseek/deepseek-v3.2"))
        ledger.close()
        ended = run("whatif", "--state", str(tmp_path))
        assert ended.errors == f"gateway: {tmp_path}: no endpoint has 20 streamed answers yet; use `--fleet real`\n"

    def test_a_trace_without_requests(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "empty.jsonl").touch()
        assert "empty.jsonl: has no requests" in run("whatif", "--fleet", "real", "--trace", "empty.jsonl").errors
