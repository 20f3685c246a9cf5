"""The tables of faults run, tell good from bad, and the page in docs has every fault."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import clients, clienttrials, hosts, machine, page
from tests.faults.__main__ import POLICIES
from tests.faults.asking import Got
from tests.faults.clienttrials import ClientTrial
from tests.faults.hosts import HostFault
from tests.faults.hosttrials import Trial, run
from tests.faults.machine import MachineTrial
from tests.faults.scripts import ANSWER
from tests.faults.table import (
    answer,
    broken,
    broken_by_client,
    broken_by_machine,
    client_lines,
    host_lines,
    ledger,
    machine_lines,
    policy_lines,
)
from tests.support.rows import row

GROUPS = {**hosts.GROUPS, **clients.GROUPS, **machine.GROUPS}
HOSTS = {fault.name: fault for faults in hosts.GROUPS.values() for fault in faults}
BREAKS = {fault.name: fault for fault in hosts.GROUPS["Breaks after the first token"]}
CLIENTS = {fault.name: fault for faults in clients.GROUPS.values() for fault in faults}
STORE = machine.GROUPS["The store"]


def listed(section: str) -> list[str]:
    """The faults that a section of the page has, each once."""
    text = page.PAGE.read_text().partition(f"### {section}\n")[2].partition("\n### ")[0]
    named = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
    return list(dict.fromkeys(named[1:]))


@pytest.mark.parametrize("group", GROUPS)
def test_the_page_has_every_fault_in_its_group(group: str) -> None:
    assert listed(group) == [fault.name for fault in GROUPS[group]]


def test_the_page_has_every_break_under_other_policies() -> None:
    assert listed(POLICIES) == list(BREAKS)


def test_the_page_explains_every_mark() -> None:
    explained = page.PAGE.read_text().partition(page.BEGIN)[0]
    marks = [mark for one in BAD for mark in broken(one)]
    marks += [mark for one in BAD_CLIENTS for mark in broken_by_client(one)]
    marks += [mark for one in BAD_MACHINES for mark in broken_by_machine(one)]
    assert {mark for mark in marks if mark not in explained} == set()


async def test_a_handful_of_hosts(tmp_path: Path) -> None:
    names = ["refuses the connection", "500, once", "401", "an empty 200"]
    cut = BREAKS["cut"]
    done = await run([*(HOSTS[name] for name in names), cut], tmp_path)
    for lines in (list(host_lines(done)), list(policy_lines(done))):
        assert len({line.count("|") for line in lines}) == 1
    second_host = [one for one in done if not one.alone and one.fault.when == "before"]
    assert {answer(one) for one in second_host} == {"the answer"}
    assert all(one.rows[-1].last for one in done)
    begun = next(one for one in done if one.fault is cut and one.stream and one.policy == "short")
    assert answer(begun) == "5 tokens, then event `cut`"


async def test_a_handful_of_clients(tmp_path: Path) -> None:
    names = ["leaves after the first token", "no JSON", "a wrong key"]
    done = await clienttrials.run([CLIENTS[name] for name in names], tmp_path)
    on_time = [replace(one, others=0.0) for one in done]  # others wait for the machine, too
    assert [list(broken_by_client(one)) for one in on_time] == [[], [], []]
    assert len({line.count("|") for line in client_lines(done)}) == 1
    assert done[0].rows[-1].outcome == "cancelled"


async def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    [done] = await machine.run([STORE[0]], tmp_path)
    assert list(broken_by_machine(done)) == []
    assert len({line.count("|") for line in machine_lines([done])}) == 1


def trial(got: Got, fault: HostFault = HOSTS["500"], alone: bool = False, **fields: object) -> Trial:
    """A streamed trial with a good row."""
    good = {"asked": 1, "rows": [row(last=True)], "got": got}
    made = Trial(fault, True, alone, "short", 0)
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


LEFT = CLIENTS["leaves after the first token"]
BAD_CLIENTS = [
    ClientTrial(CLIENTS["half a body, then nothing"], 0, "nothing for 35 s"),
    ClientTrial(LEFT, 0, asked=1, rows=[row()]),
    ClientTrial(LEFT, 0, asked=1, rows=[row()], left=0.1, others=3.0),
    ClientTrial(LEFT, 0, asked=1, left=0.1),
]
SERVED = [replace(GOOD)] * 6
FULL = next(fault for fault in STORE if fault.name == "is full")
BAD_MACHINES = [
    MachineTrial(FULL, SERVED, "200 store: down", 0.1, 8, 8, kept=True, ended=True),
    MachineTrial(FULL, [Got()], "200 store: down", 0.1, 8, 8, kept=True),
    MachineTrial(FULL, SERVED, "200", 0.1, 8, 8, kept=True),
    MachineTrial(FULL, SERVED, "200 store: down", None, 8, 8, kept=True),
    MachineTrial(FULL, SERVED, "200 store: down", 0.1, 8, 7, kept=True),
]


def test_what_is_as_it_should_be_has_no_mark() -> None:
    assert list(broken(trial(GOOD))) == []
    assert list(broken(trial(Got(503, "error", "server"), alone=True))) == []
    assert list(broken(trial(Got(422, "error", "invalid"), HOSTS["422"]))) == []


def test_each_promise_can_be_broken() -> None:
    marks = [next(iter(broken(one))) for one in BAD]
    marks += [next(iter(broken_by_client(one))) for one in BAD_CLIENTS[:-1]]
    marks += [next(iter(broken_by_machine(one))) for one in BAD_MACHINES]
    assert len(set(marks)) == len(marks)


def test_the_ledger_in_a_few_words() -> None:
    assert ledger([]) == "no row"
    failed = row(outcome="server", status=503, cost=0)
    assert ledger([failed, row(cost=7_500_000)]) == "server 503; ok, 7.5 µ$ host"
