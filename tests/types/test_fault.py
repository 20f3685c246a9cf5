"""Every fault has every answer, and says the same wherever it is written."""

import re
from pathlib import Path

import msgspec
import orjson
import pytest

from gateway.telemetry.ledger import parse
from gateway.types import FAULTS, OUTCOMES, Fault, counts
from grafana.queries import COUNTED
from tests.support.rows import row

ROOT = Path(__file__).parents[2]
FLAGS = (
    "blamed",
    "of_request",
    "counts",
    "delays_endpoint",
    "is_timeout",
    "missed_deadline",
    "transient",
    "passes_soon",
    "unavailable",
    "cheap_to_probe",
)
BREAKER = re.compile("yes|no|after a probe|if another endpoint had one")
every_fault = pytest.mark.parametrize("fault", Fault)


@every_fault
def test_it_has_all_answers(fault: Fault) -> None:
    assert vars(fault).keys() >= {"words", "status", *FLAGS}
    assert fault.words
    assert fault.status in (400, 429, 502, 504)
    assert {type(getattr(fault, name)) for name in FLAGS} == {bool}


@every_fault
def test_its_answers_agree(fault: Fault) -> None:
    assert fault.of_request == (fault.status == 400)
    assert fault.counts != (fault.of_request or fault is Fault.PROXY)
    assert fault.is_timeout == (fault.status == 504)
    assert not (fault.blamed and fault.of_request)
    assert fault.is_timeout or not fault.missed_deadline, "who misses a deadline was ended by a clock"
    assert fault.transient or not fault.passes_soon
    assert fault.transient or not fault.unavailable
    assert fault.delays_endpoint or not fault.cheap_to_probe, "only what opens a breaker is probed"


@every_fault
def test_it_is_written_as_its_name(fault: Fault) -> None:
    name = fault.name.lower()
    assert (fault, str(fault), f"{fault}", fault.value, hash(fault)) == (name, name, name, name, hash(name))
    assert orjson.dumps({"fault": fault}) == b'{"fault":"%s"}' % name.encode()
    assert FAULTS[name] is fault
    written = msgspec.json.encode(row(outcome=fault))
    assert b'"outcome":"%s"' % name.encode() in written
    read = parse(written)
    assert read is not None
    assert (type(read.outcome), read.outcome) == (str, name)


def test_outcomes_are_the_faults_and_what_is_none() -> None:
    others = ["ok", "cancelled", "cached", "unrouted", "internal", "killed"]
    assert (*others, *Fault) == OUTCOMES
    assert not FAULTS.keys() & set(others)
    assert [one for one in OUTCOMES if not counts(one)] == ["cancelled", "killed", "malformed", "rejected", "proxy"]
    assert counts("something that a later version writes")


def test_the_documents_list_each_with_what_follows_from_it() -> None:
    table = re.findall(r"^\| `(\w+)` \|(.*)\|$", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    rows = {name: [cell.strip() for cell in cells.split("|")] for name, cells in table if name in FAULTS}
    assert list(rows) == list(FAULTS)
    for fault in Fault:
        about, breaker, rate, status = rows[fault]
        assert about
        assert BREAKER.fullmatch(breaker), breaker
        assert (breaker != "no") == fault.delays_endpoint
        assert rate == ("failure" if fault.counts else "left out")
        assert int(status) == fault.status


def test_rules_dashboard_and_page_leave_the_same_outcomes_out() -> None:
    left_out = [one for one in OUTCOMES if not counts(one)]
    assert f'outcome!~"{"|".join(left_out)}"' == COUNTED
    rules = (ROOT / "grafana/prometheus/rules.yml").read_text()
    assert set(re.findall(r'outcome!~"[^"]*"', rules)) == {COUNTED}
    page = (ROOT / "gateway/page/static/definitions.json").read_text()
    assert "cancelled, killed, malformed and rejected ones, and those that a proxy failed, are not counted" in page
