"""What each alert fires on, and what it does not fire on: series over time, for promtool."""

from dataclasses import dataclass, field

OK = 'gateway_requests_total{job="g",policy="nitro",outcome="ok"}'
FAILED = 'gateway_requests_total{job="g",policy="nitro",outcome="server"}'
CANCELLED = 'gateway_requests_total{job="g",policy="nitro",outcome="cancelled"}'
UNROUTED = 'gateway_requests_total{job="g",policy="nitro",outcome="unrouted"}'
HOST_OK = 'gateway_attempts_total{job="g",endpoint="a/fp8",outcome="ok"}'
HOST_FAILED = 'gateway_attempts_total{job="g",endpoint="a/fp8",outcome="server"}'
HOST_REJECTED = 'gateway_attempts_total{job="g",endpoint="a/fp8",outcome="rejected"}'
STATE = 'gateway_endpoint_state{job="g",instance="i",endpoint="a/fp8"}'
BUILD = 'gateway_build_info{job="g",instance="i"}'
UP = 'up{job="g",instance="i"}'
FAST_TOKENS = 'gen_ai_server_time_to_first_token_seconds_bucket{job="g",policy="nitro",le="5.0"}'
TOKENS = 'gen_ai_server_time_to_first_token_seconds_count{job="g",policy="nitro"}'
COST = 'gateway_cost_usd_total{job="g",instance="i",policy="nitro",endpoint="a/fp8"}'
PROMPT = 'gateway_tokens_total{job="g",instance="i",policy="nitro",endpoint="a/fp8",kind="prompt"}'

NITRO = {"job": "g", "policy": "nitro"}
HOST = {"job": "g", "endpoint": "a/fp8"}
INSTANCE = {"job": "g", "instance": "i"}


@dataclass(frozen=True)
class Case:
    """At `at`, `alert` fires with these labels and this summary; without a summary it does not fire."""

    alert: str
    why: str
    at: str
    series: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    step: str = "1m"  # between samples


CASES = (
    Case(
        "GatewayDown",
        "a scrape fails",
        "12m",
        {UP: "1x8 0x10", BUILD: "1x8 _x10"},
        INSTANCE,
        "The gateway at i cannot be scraped.",
    ),
    Case("GatewayDown", "it answers", "12m", {UP: "1x20", BUILD: "1x20"}),
    Case("GatewayDown", "another program's target is gone", "12m", {'up{job="db"}': "0x20", UP: "1x20", BUILD: "1x20"}),
    Case(
        "GatewayAbsent",
        "its target vanished",
        "12m",
        {BUILD: "1x4 stale"},
        {"job": "g"},
        "No gateway of job g is scraped.",
    ),
    Case("GatewayAbsent", "there never was one", "12m", {'up{job="db"}': "1x20"}, {}, "No gateway of job  is scraped."),
    Case(
        "GatewayAbsent",
        "one of two pods was replaced",
        "12m",
        {BUILD: "1x4 stale", 'gateway_build_info{job="g",instance="j"}': "1x20"},
    ),
    Case(
        "GatewaySuccessBurnFast",
        "a fifth fails",
        "30m",
        {OK: "0+8x60", FAILED: "0+2x60"},
        NITRO,
        "Requests under policy nitro fail 20 times as often as the objective allows.",
    ),
    Case(
        "GatewaySuccessBurnFast",
        "a tenth fails for hours",
        "7h",
        {OK: "0+9x420", FAILED: "0+1x420"},
        NITRO,
        "Requests under policy nitro fail 10 times as often as the objective allows.",
    ),
    Case("GatewaySuccessBurnFast", "clients cancel", "30m", {OK: "0+8x60", CANCELLED: "0+8x60"}),
    Case("GatewaySuccessBurnFast", "it is over", "90m", {OK: "0+8x120", FAILED: "0+2x30 60x90"}),
    Case("GatewaySuccessBurnFast", "only a few requests", "30m", {OK: "0x60", FAILED: "0 1 2 3x60"}),
    Case(
        "GatewaySuccessBurnSlow",
        "a twentieth fails for days",
        "76h",
        {OK: "0+190x456", FAILED: "0+10x456"},
        NITRO,
        "Requests under policy nitro fail more often than the objective allows.",
        step="10m",
    ),
    Case("GatewaySuccessBurnSlow", "within the objective", "76h", {OK: "0+4990x456", FAILED: "0+10x456"}, step="10m"),
    Case(
        "GatewayTTFTBurnFast",
        "all are late",
        "30m",
        {FAST_TOKENS: "0x60", TOKENS: "0+10x60", OK: "0+10x60"},
        NITRO,
        "First tokens under policy nitro are late 20 times as often as the objective allows.",
    ),
    Case("GatewayTTFTBurnFast", "all are in time", "30m", {FAST_TOKENS: "0+10x60", TOKENS: "0+10x60", OK: "0+10x60"}),
    Case(
        "GatewayTTFTBurnSlow",
        "a tenth is late for days",
        "76h",
        {FAST_TOKENS: "0+90x456", TOKENS: "0+100x456", OK: "0+100x456"},
        NITRO,
        "First tokens under policy nitro are late more often than the objective allows.",
        step="10m",
    ),
    Case(
        "GatewayTTFTBurnSlow",
        "a fiftieth is late",
        "76h",
        {FAST_TOKENS: "0+490x456", TOKENS: "0+500x456", OK: "0+500x456"},
        step="10m",
    ),
    Case(
        "GatewayUnrouted",
        "some find no endpoint",
        "15m",
        {UNROUTED: "0x5 10x15"},
        NITRO,
        "10 requests under policy nitro found no endpoint in 10 minutes.",
    ),
    Case("GatewayUnrouted", "all find one", "15m", {UNROUTED: "0x20", OK: "0+9x20"}),
    Case(
        "GatewayEndpointOut",
        "open",
        "15m",
        {STATE: "2x20"},
        HOST,
        "Endpoint a/fp8 has been out of use for 10 minutes after failures.",
    ),
    Case(
        "GatewayEndpointOut",
        "half-open without an attempt, as it is not preferred",
        "15m",
        {STATE: "2 1x20"},
        HOST,
        "Endpoint a/fp8 has been out of use for 10 minutes after failures.",
    ),
    Case("GatewayEndpointOut", "it recovers", "15m", {STATE: "2x5 0x20"}),
    Case(
        "GatewayEndpointFailing",
        "most attempts fail",
        "30m",
        {HOST_OK: "0+1x40", HOST_FAILED: "0+3x40"},
        HOST,
        "Only 25% of the attempts at endpoint a/fp8 succeed.",
    ),
    Case(
        "GatewayEndpointFailing",
        "it rejects what it does not support",
        "30m",
        {HOST_OK: "0+1x40", HOST_REJECTED: "0+30x40"},
    ),
    Case("GatewayEndpointFailing", "only a few attempts", "30m", {HOST_OK: "0x40", HOST_FAILED: "0 1 2 3x40"}),
    Case(
        "GatewayEndpointDead",
        "a try an hour, and each fails",
        "6h",
        {HOST_OK: "0x400", HOST_FAILED: "0x59 1x59 2x59 3x59 4x59 5x100"},
        HOST,
        "None of the 5 attempts at endpoint a/fp8 within 6 hours succeeded.",
    ),
    Case(
        "GatewayEndpointDead",
        "one of them succeeds",
        "6h",
        {HOST_OK: "0x300 1x100", HOST_FAILED: "0x59 1x59 2x59 3x200"},
    ),
    Case("GatewayEndpointDead", "none is sent", "6h", {HOST_OK: "0x400", HOST_FAILED: "0x400"}),
    Case(
        "GatewayStoreDown",
        "no connection",
        "10m",
        {'gateway_store_up{job="g",instance="i"}': "1x5 0x10"},
        INSTANCE,
        "The gateway at i cannot reach its store.",
    ),
    Case("GatewayStoreDown", "a short break", "10m", {'gateway_store_up{job="g",instance="i"}': "1x5 0 1x10"}),
    Case(
        "GatewayPolicyInvalid",
        "still broken after hours",
        "5h",
        {'gateway_policy_files_invalid{job="g",instance="i"}': "0 1x400"},
        INSTANCE,
        "The policy files of the gateway at i are invalid; older policies stay in force.",
    ),
    Case(
        "GatewayPolicyInvalid", "repaired", "10m", {'gateway_policy_files_invalid{job="g",instance="i"}': "0 1x5 0x10"}
    ),
    Case(
        "GatewayConfigInvalid",
        "still rejected after hours",
        "5h",
        {'gateway_config_file_invalid{job="g",instance="i"}': "0 1x400"},
        INSTANCE,
        "The gateway.yaml of the gateway at i was rejected; the earlier one stays in force.",
    ),
    Case(
        "GatewayConfigInvalid", "repaired", "10m", {'gateway_config_file_invalid{job="g",instance="i"}': "0 1x5 0x10"}
    ),
    Case(
        "GatewayLedgerErrors",
        "rows are lost",
        "11m",
        {'gateway_ledger_errors_total{job="g",instance="i"}': "0x9 1x10"},
        INSTANCE,
        "The gateway at i cannot write its ledger.",
    ),
    Case(
        "GatewayLedgerErrors", "lost long ago", "60m", {'gateway_ledger_errors_total{job="g",instance="i"}': "0x9 1x60"}
    ),
    Case(
        "GatewayPartFailing",
        "a task ends again and again",
        "11m",
        {'gateway_part_failures_total{job="g",instance="i",part="recording"}': "0x5 1+1x10"},
        INSTANCE | {"part": "recording"},
        "recording fails in the gateway at i.",
    ),
    Case(
        "GatewayPartFailing",
        "all work",
        "11m",
        {'gateway_part_failures_total{job="g",instance="i",part="recording"}': "3x20"},
    ),
    Case(
        "GatewayWorkersDie",
        "one died",
        "11m",
        {'gateway_worker_deaths_total{job="g",instance="i"}': "0x5 1x10"},
        INSTANCE,
        "A worker of the gateway at i died and was replaced.",
    ),
    Case("GatewayWorkersDie", "none died", "11m", {'gateway_worker_deaths_total{job="g",instance="i"}': "2x20"}),
    Case(
        "GatewayShedding",
        "for minutes",
        "11m",
        {'gateway_shed_total{job="g",instance="i",reason="requests"}': "0+6x20"},
        INSTANCE | {"reason": "requests"},
        "The gateway at i rejects requests, limit requests.",
    ),
    Case("GatewayShedding", "once", "15m", {'gateway_shed_total{job="g",instance="i",reason="requests"}': "0x5 1x20"}),
    Case(
        "GatewayDayBudget",
        "$6 an hour",
        "23h",
        {COST: "0+0.2x720"},
        {"job": "g"},
        "The gateway spent $138.00 in 24 hours.",
        step="2m",
    ),
    Case("GatewayDayBudget", "$3 an hour", "23h", {COST: "0+0.1x720"}, step="2m"),
    Case(
        "GatewayMonthBudget",
        "$30 an hour",
        "70h",
        {COST: "0+1x2160"},
        {"job": "g"},
        "The gateway spent $2100.00 in 30 days.",
        step="2m",
    ),
    Case("GatewayMonthBudget", "$24 an hour", "70h", {COST: "0+0.8x2160"}, step="2m"),
    Case(
        "GatewayPaidPriceJump",
        "twice the price",
        "80h",
        {COST: "0+0.02x2160 43.2+0.04x300", PROMPT: "0+40000x2460"},
        HOST,
        "Tokens of endpoint a/fp8 cost $1.00 per million, far more than in the week before.",
        step="2m",
    ),
    Case(
        "GatewayPaidPriceJump",
        "more traffic at the same price",
        "80h",
        {COST: "0+0.02x2160 43.2+0.04x300", PROMPT: "0+40000x2160 86400000+80000x300"},
        step="2m",
    ),
    Case(
        "GatewayPriceFlag",
        "a published price of zero",
        "10m",
        {'gateway_price_flag{job="g",endpoint="a/fp8",kind="zero"}': "0 1x20"},
        HOST | {"kind": "zero"},
        "A price sync found something about endpoint a/fp8 to look at, zero.",
    ),
    Case(
        "GatewayPriceFlag",
        "nothing to look at",
        "10m",
        {'gateway_price_flag{job="g",endpoint="a/fp8",kind="zero"}': "0x20"},
    ),
    Case(
        "GatewayPricesStale",
        "no sync for 16 days",
        "400h",
        {'gateway_price_last_sync_timestamp_seconds{job="g"}': "1000x500"},
        {"job": "g"},
        "Prices were last synced 16d 15h 43m 20s ago.",
        step="1h",
    ),
    Case(
        "GatewayPricesStale",
        "never synced: the catalogue's prices are in force",
        "400h",
        {'gateway_price_last_sync_timestamp_seconds{job="g"}': "0x500"},
        step="1h",
    ),
    Case(
        "GatewayDrift",
        "a canary fails",
        "10m",
        {'gateway_probe_drift{job="g",endpoint="a/fp8",canary="json"}': "0x5 1x20"},
        HOST | {"canary": "json"},
        "The answers of endpoint a/fp8 to canary json have become worse.",
    ),
    Case(
        "GatewayDrift", "canaries pass", "10m", {'gateway_probe_drift{job="g",endpoint="a/fp8",canary="json"}': "0x20"}
    ),
    Case(
        "GatewayProbeBudget",
        "all of it",
        "10m",
        {'gateway_probe_spent_today_usd{job="g"}': "0.5x20", 'gateway_probe_budget_usd_per_day{job="g"}': "0.5x20"},
        {"job": "g"},
        "The probes have spent their budget of the day, $0.50.",
    ),
    Case(
        "GatewayProbeBudget",
        "probes are off",
        "10m",
        {'gateway_probe_spent_today_usd{job="g"}': "0x20", 'gateway_probe_budget_usd_per_day{job="g"}': "0x20"},
    ),
)
