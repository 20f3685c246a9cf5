"""The hosts of the invented history, and the spans of time."""

MODEL = "deepseek/deepseek-v3.2"
NOON = 1_795_953_600.0  # 2026-11-29 12:00 UTC
DAY = 86_400.0
RANGES = {"1h": (3_600.0, 60.0), "24h": (DAY, 3_600.0), "7d": (7 * DAY, 10_800.0), "30d": (30 * DAY, DAY)}
QUANTILES = {"p50": 1.0, "p75": 1.35, "p90": 1.9, "p95": 2.4, "p99": 3.9}

# id: precision, input, cached, output, TTFT, tokens per second, share of traffic, success, state
HOSTS: dict[str, tuple[str, float, float | None, float, float, float, float, float, str]] = {
    "novita/fp8": ("fp8", 0.269, 0.1345, 0.40, 0.92, 36, 0.26, 0.9992, "in use"),
    "siliconflow/fp8": ("fp8", 0.27, 0.135, 0.42, 1.31, 29, 0.17, 0.9961, "in use"),
    "deepinfra/fp4": ("fp4", 0.26, 0.13, 0.38, 0.71, 24, 0.21, 0.9987, "in use"),
    "baidu/fp8": ("fp8", 0.258, None, 0.387, 1.64, 41, 0.07, 0.9874, "in use"),
    "fireworks/bf16": ("bf16", 0.56, 0.28, 1.68, 0.44, 118, 0.12, 0.9995, "in use"),
    "atlas-cloud/fp8": ("fp8", 0.26, 0.13, 0.38, 1.12, 33, 0.09, 0.9931, "on trial"),
    "parasail/fp8": ("fp8", 0.28, 0.28, 0.45, 0.85, 52, 0.06, 0.9402, "set back"),
    "google-vertex/unknown": ("unknown", 0.56, 0.056, 1.68, 0.63, 76, 0.0006, 1.0, "in use"),
}
