"""The speed run: the same prompt each time, 200 tokens, streamed."""

from gateway.probe.canary_question import Json
from gateway.probe.endpoint_record import SpeedRun
from gateway.types import Row

TOKENS = 200
PROMPT = "Write a story of about 400 words about a lighthouse keeper who repairs an old radio. Begin at once."


def speed_body() -> Json:
    return {
        "messages": [{"role": "user", "content": PROMPT}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def speed_run(row: Row) -> SpeedRun:
    """What the row of a speed run says."""
    speed = row.throughput if row.outcome == "ok" else None
    return SpeedRun(round(row.at, 1), _rounded(row.ttft), _rounded(speed), round(row.duration, 3), row.outcome)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
