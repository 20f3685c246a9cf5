"""The log as JSON: every line of every process, from the start to the end."""

import json
import logging
from pathlib import Path

import pytest

from gateway.server.log_format import TextLines
from tests.support.gateway import gateway_command


async def test_every_line_of_a_gateway_with_workers_is_an_object(tmp_path: Path) -> None:
    log = tmp_path / "log"
    flags = ("--workers", "2", "--log-format", "json")
    with log.open("wb") as output:
        async with gateway_command(tmp_path, {"own/host": "http://127.0.0.1:1"}, *flags, stderr=output):
            pass
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"time", "level", "logger", "pid", "message"} <= line.keys() for line in lines)
    assert any(line["message"].startswith("listening on http://127.0.0.1:") for line in lines)
    assert lines[-1]["message"] == "stopped"


async def test_the_setting_does_the_same_as_the_flag(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        async with gateway_command(tmp_path, {"own/host": "http://127.0.0.1:1"}, stderr=output, log_format="json"):
            pass
    assert {json.loads(line)["level"] for line in log.read_text().splitlines()} == {"info"}


@pytest.mark.parametrize(
    ("form", "text", "line"),
    [
        ("%s", "a\nERROR gateway: forged", r"INFO a\nERROR gateway: forged"),
        ("%s", "\x1b[2J\x9b31m\r", r"INFO \x1b[2J\x9b31m\r"),
        ("%s", "\u202eabc\u2028", r"INFO \u202eabc\u2028"),
        ("problems:\n%s", "a: b\nc: \x1b", "INFO problems:\na: b\nc: \\x1b"),
        ("%s", "größer \U0001f600", "INFO größer \U0001f600"),
    ],
)
def test_what_a_host_says_makes_no_line_of_its_own(form: str, text: str, line: str) -> None:
    record = logging.LogRecord("gateway", logging.INFO, __file__, 1, form, (text,), None)
    assert TextLines("%(levelname)s %(message)s").format(record) == line
