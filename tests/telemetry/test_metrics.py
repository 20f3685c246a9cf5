import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import __version__
from gateway.compiled import BUILD
from gateway.state.conditions import PARTS
from gateway.state.store import StoreStats
from gateway.telemetry.metrics import (
    BATCH_ROWS,
    CONTENT_TYPE,
    OPEN,
    SHED,
    Metrics,
    count_deaths,
    forget_dead,
    prepare_folder,
)
from gateway.telemetry.policy_labels import MOST_POLICIES, OTHER
from gateway.types import OUTCOMES, PROBE
from tests.support.rows import cached_row, row

MODEL = {"model": "deepseek/deepseek-v3.2", "policy": "balanced"}
BALANCED = {"policy": "balanced"}
HOST = {"endpoint": "novita/fp8"}
NOVITA = HOST | BALANCED


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    prepare_folder(tmp_path)
    return Metrics(tmp_path)


def value(exposition: bytes, name: str, **labels: str) -> float | None:
    """One sample of an exposition; None when the series is not there."""
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def test_an_answer_counts_for_its_client_and_its_endpoint(metrics: Metrics) -> None:
    metrics.record(row())
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_requests_total", **MODEL, outcome="ok", stream="true", code="2xx") == 1
    assert value(text, "gen_ai_server_time_to_first_token_seconds_sum", **MODEL) == pytest.approx(0.6)
    assert value(text, "gen_ai_server_time_per_output_token_seconds_sum", **MODEL) == pytest.approx(0.02)
    assert value(text, "gen_ai_server_request_duration_seconds_sum", **MODEL, stream="true") == pytest.approx(2.6)
    assert value(text, "gen_ai_client_token_usage_sum", **MODEL, gen_ai_token_type="input") == 1000
    assert value(text, "gen_ai_client_token_usage_sum", **MODEL, gen_ai_token_type="output") == 101
    assert value(text, "gateway_overhead_seconds_bucket", le="0.0003") == 1
    assert value(text, "gateway_overhead_seconds_bucket", le="0.0002") == 0
    assert value(text, "gateway_attempts_total", **NOVITA, outcome="ok") == 1
    assert value(text, "gateway_attempt_ttft_seconds_sum", **NOVITA) == 0.5
    assert value(text, "gateway_attempt_throughput_tokens_per_second_sum", **NOVITA) == 66.7
    assert value(text, "gateway_cost_usd_total", **NOVITA) == pytest.approx(0.00025)
    kinds = {"prompt": 1000, "cached": 400, "completion": 101, "reasoning": 20}
    assert {kind: value(text, "gateway_tokens_total", **NOVITA, kind=kind) for kind in kinds} == kinds


def test_a_probe_counts_for_its_endpoint_and_for_no_client(metrics: Metrics) -> None:
    metrics.record(row(tenant=PROBE, policy=PROBE, app=PROBE))
    metrics.flush()
    text = metrics.exposition()
    probed = {"endpoint": "novita/fp8", "policy": PROBE}
    assert value(text, "gateway_attempts_total", **probed, outcome="ok") == 1
    assert value(text, "gateway_cost_usd_total", **probed) == pytest.approx(0.00025)
    assert b"gateway_requests_total{" not in text
    assert b"gen_ai_server_request_duration_seconds_bucket{" not in text


def test_what_the_store_did_is_counted_once(metrics: Metrics) -> None:
    series = {
        name: value(metrics.exposition(), "gateway_store_commands_total", result=name) for name in StoreStats._fields
    }
    assert set(series.values()) == {0}
    for counts in (
        StoreStats(hits=3, timeouts=1),
        StoreStats(hits=3, timeouts=1),
        StoreStats(hits=5, timeouts=1, dropped=2),
    ):
        metrics.store_commands(counts)
    text = metrics.exposition()
    found = {name: value(text, "gateway_store_commands_total", result=name) for name in StoreStats._fields}
    assert found == {"hits": 5, "misses": 0, "timeouts": 1, "errors": 0, "dropped": 2}


def test_a_failover_is_two_attempts_and_one_exchange(metrics: Metrics) -> None:
    metrics.record(row(endpoint="a/fp8", outcome="server", ttft=None, throughput=None, cost=0, last=False))
    metrics.record(row(endpoint="b/fp8", attempt=2))
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_attempts_total", **BALANCED, endpoint="a/fp8", outcome="server") == 1
    assert value(text, "gateway_attempts_total", **BALANCED, endpoint="b/fp8", outcome="ok") == 1
    assert value(text, "gateway_requests_total", **MODEL, outcome="ok", stream="true", code="2xx") == 1
    assert value(text, "gateway_attempt_throughput_tokens_per_second_count", **BALANCED, endpoint="a/fp8") is None


def test_a_slow_client_says_nothing_about_the_speed_of_its_endpoint(metrics: Metrics) -> None:
    metrics.record(row(endpoint="a/fp8", held=True, throughput=None))
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_attempt_throughput_tokens_per_second_count", **BALANCED, endpoint="a/fp8") is None
    assert value(text, "gateway_attempts_total", **BALANCED, endpoint="a/fp8", outcome="ok") == 1


def test_a_cache_hit_says_nothing_about_speed_use_or_endpoints(metrics: Metrics) -> None:
    metrics.record(cached_row())
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_cache_requests_total", **MODEL, result="hit") == 1
    assert value(text, "gateway_requests_total", **MODEL, outcome="cached", stream="true", code="2xx") == 1
    assert value(text, "gen_ai_server_request_duration_seconds_count", **MODEL, stream="true") == 1
    for silent in (b"time_to_first_token", b"time_per_output", b"throughput", b"token_usage", b"attempts_total"):
        assert silent not in text


@pytest.mark.parametrize(
    "changes",
    [{"stream": False}, {"outcome": "cut"}, {"completion_tokens": 1}, {"client_ttft": None}],
    ids=["not streamed", "did not end well", "one token", "no first token"],
)
def test_no_time_per_output_token(metrics: Metrics, changes: dict[str, object]) -> None:
    metrics.record(row(**changes))
    metrics.flush()
    assert b"time_per_output_token" not in metrics.exposition()


def test_a_first_token_after_the_end_is_no_negative_time(metrics: Metrics) -> None:
    """The two are taken from one clock, but rounded on their own."""
    metrics.record(row(client_ttft=2.61, client_duration=2.6))
    metrics.flush()
    assert value(metrics.exposition(), "gen_ai_server_time_per_output_token_seconds_sum", **MODEL) == 0


def test_two_tokens_have_a_time_between_them(metrics: Metrics) -> None:
    metrics.record(row(completion_tokens=2, client_ttft=0.5, client_duration=0.75))
    metrics.flush()
    assert value(metrics.exposition(), "gen_ai_server_time_per_output_token_seconds_sum", **MODEL) == 0.25


@pytest.mark.parametrize(("status", "code"), [(200, "2xx"), (299, "2xx"), (400, "4xx"), (503, "5xx")])
def test_the_code_of_an_exchange_is_its_class(metrics: Metrics, status: int, code: str) -> None:
    metrics.record(row(client_status=status, stream=False))
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_requests_total", **MODEL, outcome="ok", stream="false", code=code) == 1
    assert value(text, "gen_ai_server_request_duration_seconds_count", **MODEL, stream="false") == 1


def test_an_answer_whose_tokens_are_unknown_has_no_token_usage(metrics: Metrics) -> None:
    metrics.record(row(usage_source="none"))
    metrics.flush()
    assert b"token_usage" not in metrics.exposition()


def test_an_attempt_without_a_measured_speed_has_no_throughput(metrics: Metrics) -> None:
    metrics.record(row(throughput=None))
    metrics.flush()
    assert b"gateway_attempt_throughput" not in metrics.exposition()


@pytest.mark.parametrize("outcome", ["cut", "cancelled", "unrouted", "internal"])
def test_a_request_that_failed_has_no_duration(metrics: Metrics, outcome: str) -> None:
    metrics.record(row(outcome=outcome))
    metrics.flush()
    assert b"request_duration" not in metrics.exposition()


def test_an_exchange_that_used_no_cache_is_no_lookup(metrics: Metrics) -> None:
    for cache in ("off", "miss", "refresh"):
        metrics.record(row(cache=cache))
    metrics.flush()
    text = metrics.exposition()
    found = {
        result: value(text, "gateway_cache_requests_total", **MODEL, result=result) for result in ("hit", "miss", "off")
    }
    assert found == {"hit": 0, "miss": 1, "off": None}


def test_an_unrouted_exchange_has_no_attempt(metrics: Metrics) -> None:
    metrics.record(row(endpoint="", attempt=0, outcome="unrouted", client_status=503, usage_source="none"))
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_requests_total", **MODEL, outcome="unrouted", stream="true", code="5xx") == 1
    assert b"gateway_attempts_total" not in text


def test_prepared_endpoints_show_every_fault_at_zero(metrics: Metrics) -> None:
    metrics.prepare("deepseek/deepseek-v3.2", ["novita/fp8"], "balanced", ())
    metrics.flush()
    text = metrics.exposition()
    shown = set(
        re.findall(rb'gateway_attempts_total{endpoint="novita/fp8",outcome="(\w+)",policy="balanced"} 0.0', text)
    )
    assert {name.decode() for name in shown} == set(OUTCOMES) - {"cached", "unrouted"}
    assert value(text, "gateway_endpoint_state", **HOST) == 0
    assert value(text, "gateway_endpoint_info", **HOST, model="deepseek/deepseek-v3.2") == 1
    assert value(text, "gateway_cost_usd_total", **NOVITA) == 0


def test_predictions_stand_beside_what_came(metrics: Metrics) -> None:
    metrics.record(row())
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_cost_actual_to_predicted_ratio_sum", **NOVITA) == 1.25
    assert value(text, "gateway_duration_actual_to_predicted_ratio_sum", **NOVITA) == 0.5


def test_explorations_are_counted_by_the_endpoint_that_was_tried(metrics: Metrics) -> None:
    for explored in (True, True, False):
        metrics.record(row(explored=explored))
    metrics.flush()
    assert value(metrics.exposition(), "gateway_explorations_total", **NOVITA) == 2


@pytest.mark.parametrize(
    ("changes", "silent"),
    [
        ({"outcome": "cut"}, b"actual_to_predicted"),
        ({"predicted_usd": 0, "predicted_s": 0.0}, b"actual_to_predicted"),
        ({"usage_source": "estimated"}, b"cost_actual"),
        ({"held": True}, b"duration_actual"),
    ],
    ids=["not ended well", "a free host", "tokens estimated", "held by its client"],
)
def test_what_says_nothing_about_a_prediction(metrics: Metrics, changes: dict[str, object], silent: bytes) -> None:
    metrics.record(row(**changes))
    metrics.flush()
    assert silent not in metrics.exposition()


def test_a_race_is_counted_once_by_its_second_attempt(metrics: Metrics) -> None:
    for hedge, outcome in (("beaten", "cancelled"), ("won", "ok"), ("lost", "cancelled"), ("failed", "server")):
        metrics.record(row(hedge=hedge, outcome=outcome, last=False))
    metrics.flush()
    text = metrics.exposition()
    results = {"won": 1, "lost": 1, "failed": 1, "cancelled": 0}
    assert {result: value(text, "gateway_hedges_total", **BALANCED, result=result) for result in results} == results
    assert value(text, "gateway_hedges_total", **BALANCED, result="beaten") is None


def test_regret_is_summed_by_its_reason(metrics: Metrics) -> None:
    for _ in range(2):
        metrics.record(row(regret=500_000_000, regret_reason="explore"))
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_regret_usd_total", **BALANCED, reason="explore") == 0.001
    assert value(text, "gateway_regret_usd_total", **BALANCED, reason="cap") == 0


def test_what_decisions_gave_up_is_counted(metrics: Metrics) -> None:
    metrics.record(row(relaxed="missed slo"))
    metrics.record(row())
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_relaxed_total", **BALANCED, what="missed slo") == 1
    assert value(text, "gateway_relaxed_total", **BALANCED, what="breaker open") == 0


def test_answers_that_called_tools_are_counted_by_endpoint(metrics: Metrics) -> None:
    metrics.prepare("deepseek/deepseek-v3.2", ["novita/fp8"], "balanced", ())
    metrics.record(row(tools="ok"))
    metrics.record(row())
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_tool_calls_total", **NOVITA, result="ok") == 1
    assert value(text, "gateway_tool_calls_total", **NOVITA, result="misfit") == 0


def test_what_was_mended_is_counted_by_endpoint_and_kind(metrics: Metrics) -> None:
    metrics.prepare("deepseek/deepseek-v3.2", ["novita/fp8"], "balanced", ())
    metrics.record(row(repairs=("call", "arguments")))
    metrics.record(row(repairs=("call",)))
    metrics.flush()
    text = metrics.exposition()
    counts = {"call": 2, "markup": 0, "arguments": 1, "content": 0}
    assert {kind: value(text, "gateway_repairs_total", **NOVITA, kind=kind) for kind in counts} == counts


def test_rows_wait_in_a_bounded_list(metrics: Metrics) -> None:
    for _ in range(BATCH_ROWS + 1):
        metrics.record(row())
    assert "1 rows pending" in repr(metrics)
    metrics.flush()
    assert value(metrics.exposition(), "gateway_attempts_total", **NOVITA, outcome="ok") == BATCH_ROWS + 1


def test_the_first_request_under_another_policy_shows_its_other_outcomes_at_zero(metrics: Metrics) -> None:
    metrics.prepare(MODEL["model"], ["novita/fp8"], "balanced", ())
    metrics.record(row(policy="floor", cost=1_000_000_000_000))
    metrics.flush()
    text = metrics.exposition()
    floor = HOST | {"policy": "floor"}
    assert value(text, "gateway_attempts_total", **floor, outcome="ok") == 1
    assert value(text, "gateway_attempts_total", **floor, outcome="server") == 0
    assert value(text, "gateway_cost_usd_total", **floor) == 1
    assert value(text, "gateway_cost_usd_total", **NOVITA) == 0
    assert value(text, "gateway_hedges_total", policy="floor", result="won") == 0
    assert value(text, "gateway_cache_requests_total", model=MODEL["model"], policy="floor", result="hit") == 0


def test_policies_beyond_the_bound_share_one_label(metrics: Metrics) -> None:
    for number in range(MOST_POLICIES + 2):
        metrics.record(row(policy=f"policy-{number}"))
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_attempts_total", **HOST, policy="policy-0", outcome="ok") == 1
    assert value(text, "gateway_attempts_total", **HOST, policy=OTHER, outcome="ok") == 2
    labels = set(re.findall(rb'policy="([^"]+)"', text))
    assert len(labels) == MOST_POLICIES + 1


def test_a_broken_policy_file_shows_until_it_is_mended(metrics: Metrics) -> None:
    shown = []
    for ok in (True, False, True):
        metrics.policy_reloads.reloaded(ok)
        shown.append(value(metrics.exposition(), "gateway_policy_files_invalid"))
    assert shown == [0, 1, 0]


def test_what_is_not_a_row(metrics: Metrics) -> None:
    metrics.policy_reloads.reloaded(True)
    metrics.policy_reloads.reloaded(False)
    metrics.store_up(False)
    metrics.ledger_error()
    metrics.endpoint_state("novita/fp8", OPEN)
    metrics.in_flight(2)
    metrics.in_flight(1)
    metrics.flush()
    text = metrics.exposition()
    assert value(text, "gateway_policy_reloads_total", result="ok") == 1
    assert value(text, "gateway_policy_reloads_total", result="rejected") == 1
    assert value(text, "gateway_store_up") == 0
    assert value(text, "gateway_ledger_errors_total") == 1
    assert value(text, "gateway_endpoint_state", **HOST) == OPEN
    assert value(text, "gateway_in_flight") == 1


def test_labels_never_name_a_client(metrics: Metrics) -> None:
    metrics.record(row(tenant="secret-tenant", app="secret-app", error="secret prompt"))
    metrics.flush()
    assert b"secret" not in metrics.exposition()


def test_text_format_is_declared() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")


WORKER = """
import sys
from pathlib import Path
from gateway.telemetry.metrics import Metrics
from tests.support.rows import row

metrics = Metrics(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    metrics.record(row(cost=1_000_000_000_000))
metrics.in_flight(int(sys.argv[2]))
metrics.endpoint_state("novita/fp8", int(sys.argv[3]))
metrics.store_up(sys.argv[3] == "0")
metrics.flush()
metrics.publish()
print("ready", flush=True)
sys.stdin.read()
"""


def start_worker(folder: Path, rows: int, state: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), str(rows), str(state)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def test_two_workers_add_up_and_a_dead_one_leaves_its_counters(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    with start_worker(tmp_path, 700, 0) as one, start_worker(tmp_path, 55, OPEN) as two:
        reader = Metrics(tmp_path)
        reader.store_up(True)
        reader.flush()
        both = reader.exposition()
        two.send_signal(signal.SIGKILL)
        two.wait()
        forget_dead(tmp_path, two.pid)
        reader.flush()
        after = reader.exposition()
        assert one.stdin is not None
        one.stdin.close()

    for text in (both, after):
        assert value(text, "gateway_attempts_total", **NOVITA, outcome="ok") == 755
        assert value(text, "gateway_cost_usd_total", **NOVITA) == 755
        assert value(text, "gen_ai_server_time_to_first_token_seconds_count", **MODEL) == 755
        assert value(text, "gen_ai_server_time_to_first_token_seconds_bucket", **MODEL, le="0.75") == 755
        assert value(text, "gateway_overhead_seconds_sum") == pytest.approx(755 * 0.0003)
    assert value(both, "gateway_in_flight") == 755
    assert value(after, "gateway_in_flight") == 700
    assert value(both, "gateway_endpoint_state", **HOST) == OPEN
    assert value(after, "gateway_endpoint_state", **HOST) == 0
    assert value(both, "gateway_store_up") == 0
    assert value(after, "gateway_store_up") == 1


def test_the_next_start_begins_at_zero(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    before = Metrics(tmp_path)
    before.record(row())
    before.flush()
    before.publish()
    prepare_folder(tmp_path)
    assert os.listdir(tmp_path) == []
    assert value(Metrics(tmp_path).exposition(), "gateway_attempts_total", **NOVITA, outcome="ok") is None


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_the_gateways_alone(tmp_path: Path) -> None:
    """Also one below a folder that is missing too, and one that a running gateway has to create again."""
    first, again = tmp_path / "state" / "metrics", tmp_path / "other" / "metrics"
    prepare_folder(first)
    Metrics(again).publish()
    assert [mode(first), mode(again)] == [0o700, 0o700]
    prepare_folder(again)
    assert os.listdir(again) == []


def test_only_the_gauges_of_a_dead_worker_go(tmp_path: Path) -> None:
    names = {"counter_1.db", "gauge_livesum_2.db", "gauge_livemax_12.db"}
    for name in names | {"gauge_livesum_1.db", "gauge_livemax_1.db"}:
        (tmp_path / name).touch()
    forget_dead(tmp_path, 1)
    assert set(os.listdir(tmp_path)) == names


def test_deaths_are_counted_from_zero(tmp_path: Path) -> None:
    count, worker = count_deaths(tmp_path), Metrics(tmp_path)
    assert (tmp_path / "counter_supervisor.db").exists()
    assert value(worker.exposition(), "gateway_worker_deaths_total") == 0
    for _ in range(2):
        count()
    assert value(worker.exposition(), "gateway_worker_deaths_total") == 2


def test_the_supervisor_outlives_a_folder_that_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "metrics").touch()
    count = count_deaths(tmp_path / "metrics")
    count()
    (tmp_path / "metrics").unlink()
    count()
    assert value(Metrics(tmp_path / "metrics").exposition(), "gateway_worker_deaths_total") == 2


def test_what_was_shed_and_what_failed_starts_at_zero(metrics: Metrics) -> None:
    def shed() -> list[float | None]:
        return [value(metrics.exposition(), "gateway_shed_total", reason=reason) for reason in SHED]

    failures = [value(metrics.exposition(), "gateway_part_failures_total", part=part) for part in PARTS]
    assert (shed(), failures) == ([0] * len(SHED), [0] * len(PARTS))
    metrics.shed(SHED[0])
    metrics.shed(SHED[0])
    metrics.shed(SHED[2])
    assert shed() == [0] * len(SHED)  # until the next flush
    metrics.flush()
    metrics.flush()
    assert shed() == [2, 0, 1, 0, 0, 0]
    metrics.part_failure("ledger")
    assert value(metrics.exposition(), "gateway_part_failures_total", part="ledger") == 1


def test_reloads_caches_hedges_regret_and_unrouted_requests_start_at_zero(metrics: Metrics) -> None:
    metrics.prepare(MODEL["model"], [], "balanced", ("floor",))
    text = metrics.exposition()
    unrouted = {"outcome": "unrouted", "stream": "true", "code": "5xx"}
    for policy in ("balanced", "floor"):
        assert value(text, "gateway_requests_total", **(MODEL | {"policy": policy}), **unrouted) == 0
    for result in ("ok", "rejected"):
        assert value(text, "gateway_policy_reloads_total", result=result) == 0
    for result in ("hit", "miss", "refresh"):
        assert value(text, "gateway_cache_requests_total", **MODEL, result=result) == 0
    for reason in ("sample", "explore", "cap"):
        assert value(text, "gateway_regret_usd_total", **BALANCED, reason=reason) == 0
    assert value(text, "gateway_relaxed_total", **BALANCED, what="good") is None


def test_a_prepared_endpoint_shows_tools_repairs_and_explorations_at_zero(metrics: Metrics) -> None:
    metrics.prepare("m", ["novita/fp8"], "balanced", ())
    text = metrics.exposition()
    for result in ("ok", "unknown_name", "not_json", "misfit"):
        assert value(text, "gateway_tool_calls_total", **NOVITA, result=result) == 0
    for kind in ("prompt", "cached", "completion", "reasoning"):
        assert value(text, "gateway_tokens_total", **NOVITA, kind=kind) == 0
    assert value(text, "gateway_tool_calls_total", **NOVITA, result="") is None
    assert value(text, "gateway_explorations_total", **NOVITA) == 0
    assert value(text, "gateway_repairs_total", **NOVITA, kind="content") == 0


def test_the_build_is_shown(metrics: Metrics) -> None:
    metrics.publish()
    assert value(metrics.exposition(), "gateway_build_info", version=__version__, build=BUILD) == 1
