"""The table of faults runs, tells good from bad, and the page in docs has every fault."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import page
from tests.faults.asking import Got
from tests.faults.hosts import GROUPS, HostFault
from tests.faults.scripts import ANSWER
from tests.faults.table import answer, broken, host_lines, ledger
from tests.faults.hosttrials import Trial, run
from tests.support.rows import row

FAULTS = {fault.name: fault for faults in GROUPS.values() for fault in faults}
CUT = next(fault for fault in GROUPS["Breaks after the first token"] if fault.name == "cut")


@pytest.mark.parametrize("group", GROUPS)
def test_the_page_has_every_fault_in_its_group(group: str) -> None:
    section = page.PAGE.read_text().partition(f"### {group}\n")[2].partition("\n### ")[0]
    named = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| ")]
    assert list(dict.fromkeys(named[1:])) == [fault.name for fault in GROUPS[group]]


def test_the_page_explains_every_mark() -> None:
    explained = page.PAGE.read_text().partition(page.BEGIN)[0]
    assert [mark for trial in BAD for mark in broken(trial) if f"| {mark} |" not in explained] == []


async def test_a_handful_of_faults(tmp_path: Path) -> None:
    names = ["refuses the connection", "500, once", "401", "an empty 200"]
    done = await run([FAULTS[name] for name in names] + [CUT], tmp_path)
    assert {trial.fault.name for trial in done} == {*names, "cut"}
    lines = list(host_lines(done))
    assert len({line.count("|") for line in lines}) == 1
    second_host = [trial for trial in done if not trial.alone and trial.fault.when == "before"]
    assert {answer(trial) for trial in second_host} == {"the answer"}
    assert all(trial.rows[-1].last for trial in done)
    cut = next(trial for trial in done if trial.fault is CUT and trial.stream)
    assert answer(cut) == "5 tokens, then event `cut`"


def trial(got: Got, fault: HostFault = FAULTS["500"], alone: bool = False, **fields: object) -> Trial:
    """A streamed trial with a good row."""
    good = {"asked": 1, "rows": [row(last=True)], "got": got}
    made = Trial(fault, True, alone, 0)
    for name, value in (good | fields).items():
        setattr(made, name, value)
    return made


GOOD = Got(200, "done", text=ANSWER, tokens=10, seconds=0.1)
BAD = [
    trial(Got(502, "error", "server")),
    trial(replace(GOOD, text="one two")),
    trial(Got(200, "error", "no JSON")),
    trial(Got()),
    trial(replace(GOOD, seconds=60.0)),
    trial(GOOD, asked=2),
    trial(GOOD, rows=[row(last=True, usage_source="estimated")]),
    trial(GOOD, rows=[]),
]


def test_what_is_as_it_should_be_has_no_mark() -> None:
    assert list(broken(trial(GOOD))) == []
    assert list(broken(trial(Got(503, "error", "server"), alone=True))) == []
    assert list(broken(trial(Got(422, "error", "invalid"), FAULTS["422"]))) == []


def test_each_promise_can_be_broken() -> None:
    marks = [next(iter(broken(one))) for one in BAD]
    assert len(set(marks)) == len(marks) == len(BAD)


def test_the_ledger_in_a_few_words() -> None:
    assert ledger([]) == "no row"
    failed = row(outcome="server", status=503, cost=0)
    assert ledger([failed, row(cost=7_500_000)]) == "server 503; ok, 7.5 µ$ host"
