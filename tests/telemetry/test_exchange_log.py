"""One line in the log for each exchange that failed or was slow, at a bounded rate, without anything private."""

import json
import logging
from typing import Any

import msgspec
import pytest

from gateway.server.log_format import JsonLines
from gateway.telemetry.exchange_log import BURST, RATE, ExchangeLog
from gateway.types import Row
from tests.proxy.routed import Routed
from tests.support.gateway import DIRECT_ONLY
from tests.support.host import ScriptedHost, answers

SECRET = "zebra-crossing"
FAILED = Row(
    "gen-1-2", "gen-1", 0.0, "app", "", "author/model", "balanced", False, "b/fp8", "b", 2, "server",
    status=503, error=f"overloaded, try later: {SECRET}", last=True, client_status=502, client_duration=3.2143,
)  # fmt: skip
OK = msgspec.structs.replace(FAILED, outcome="ok", error="", client_status=200)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> ExchangeLog:
    return ExchangeLog(clock)


def row(base: Row = FAILED, **changes: Any) -> Row:
    return msgspec.structs.replace(base, **changes)


def test_a_failed_exchange_is_a_line_with_its_id(log: ExchangeLog, caplog: pytest.LogCaptureFixture) -> None:
    log.closed(FAILED, slow=False)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("gateway.exchanges", "WARNING")
    assert record.getMessage() == (
        "gen-1 failed: server, 502 to the client after 2 attempts, 3.21 s; policy balanced, endpoint b/fp8: "
        "overloaded, try later: …"
    )
    line = json.loads(JsonLines().format(record))
    assert line["time"].endswith("Z")
    expected = {"level": "warning", "logger": "gateway.exchanges", "exchange": "gen-1", "what": "failed", "status": 502}
    assert expected.items() <= line.items()
    assert (line["attempts"], line["seconds"], line["endpoint"], line["policy"]) == (2, 3.214, "b/fp8", "balanced")
    assert SECRET not in caplog.text + json.dumps(line)


def test_a_slow_one_too(log: ExchangeLog, caplog: pytest.LogCaptureFixture) -> None:
    log.closed(OK, slow=True)
    assert "gen-1 slow: ok, 200 to the client" in caplog.text


def test_one_that_failed_slowly_has_failed(log: ExchangeLog, caplog: pytest.LogCaptureFixture) -> None:
    log.closed(FAILED, slow=True)
    assert "gen-1 failed: server" in caplog.text


@pytest.mark.parametrize(
    "closing",
    [
        OK,
        row(OK, outcome="cached"),
        row(outcome="cancelled"),
        row(outcome="malformed", client_status=400),
        row(outcome="rejected", client_status=400),
    ],
)
def test_all_others_are_not_logged(closing: Row, log: ExchangeLog, caplog: pytest.LogCaptureFixture) -> None:
    log.closed(closing, slow=False)
    assert caplog.records == []


def test_the_rate_is_bounded_and_what_is_left_out_is_counted(
    log: ExchangeLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(int(BURST) + 7):
        log.closed(FAILED, slow=False)
    assert len(caplog.records) == BURST
    clock.now += 1
    for _ in range(100):
        log.closed(FAILED, slow=False)
    assert len(caplog.records) == BURST + RATE
    assert caplog.records[int(BURST)].getMessage().endswith("(7 more were left out)")
    assert "left out" not in caplog.records[-1].getMessage()


def test_a_traceback_is_one_line_of_json() -> None:
    try:
        raise ValueError("no\nluck")
    except ValueError as error:
        record = logging.LogRecord("gateway", logging.ERROR, "", 0, "it %s", ("failed",), (type(error), error, None))
    line = JsonLines().format(record)
    assert "\n" not in line
    assert (json.loads(line)["message"], "ValueError: no" in json.loads(line)["exception"]) == ("it failed", True)


@DIRECT_ONLY
async def test_a_request_that_fails(routed: Routed, caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedHost(answers(500, {"error": {"message": SECRET}})) as host, routed(host) as running:
        answer = await running.chat(SECRET)
        exchange = answer.headers["x-generation-id"]
    assert f"{exchange} failed: server, {answer.status_code} to the client after 1 attempt, " in caplog.text
    assert SECRET not in caplog.text
